//! hwloc's XML, checked before libhwloc gets to see it.
//!
//! libhwloc believes what a file says of the sets of CPUs and NUMA nodes, and crashes, hangs or aborts
//! where that contradicts itself. So all that its later steps rely on is looked at here, and what it
//! gets is written anew from what was looked at: its own small parser and a real one can differ on
//! what a file says.
//!
//! Sources: hwloc's documentation, "Importing and exporting topologies from/to XML files" and
//! "Object Sets (hwloc_cpuset_t and hwloc_nodeset_t)"; the checks of `hwloc_topology_check()`.

use std::collections::HashSet;

use roxmltree::{Document, Node};

use crate::topology::MAX_INDEX;

type Checked<T> = std::result::Result<T, String>;

/// How deep elements may be nested: they are read by recursion, here and in libhwloc.
const MAX_DEPTH: usize = 200;

/// hwloc has none, and other XML that is refused in its own words has some.
const MAX_NAMESPACES: usize = 100;

/// hwloc writes some twenty.
const MAX_ATTRIBUTES: usize = 5_000;

/// Returns a topology's XML as libhwloc may read it.
///
/// # Errors
///
/// What is wrong with it, as the end of a sentence.
pub(crate) fn checked(text: &str) -> Checked<String> {
    if text.trim_start().starts_with('{') {
        return Err(
            "it looks like JSON, not like hwloc's XML; what mpibind wrote as JSON is read \
                    with Topology.from_json()"
                .into(),
        );
    }
    // To tell many namespaces or attributes apart takes the parser time that grows with their square.
    if text.matches("xmlns").count() > MAX_NAMESPACES {
        return Err(format!("it has more than {MAX_NAMESPACES} namespaces (xmlns)"));
    }
    if text.split('<').any(|tag| tag.matches('=').count() > MAX_ATTRIBUTES) {
        return Err(format!("it has a tag with more than {MAX_ATTRIBUTES} attributes"));
    }
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| {
        format!("it is not well-formed XML ({error}); it may be cut off or not be XML at all")
    })?;
    let row = |node: Node<'_, '_>| document.text_pos_at(node.range().start).row;
    let root = document.root_element();
    if root.tag_name().name() != "topology" {
        let name: String = root.tag_name().name().chars().take(40).collect();
        return Err(format!(
            "it is XML, but of something else: its root is <{name}>, not <topology>"
        ));
    }
    let mut machines = root.children().filter(|node| node.has_tag_name("object"));
    let Some(machine) = machines.next() else {
        return Err("it is a topology without objects; write it anew with `lstopo node.xml`".into());
    };
    if let Some(second) = machines.next() {
        return Err(format!(
            "it has a second machine, in line {}; give each node a file of its own",
            row(second)
        ));
    }
    check_depth(root)?;
    // `type` and `xml:type` are two names, and one to libhwloc: it would read what was not checked.
    let has_namespace = |node: &Node<'_, '_>| {
        node.tag_name().namespace().is_some()
            || node.attributes().any(|attribute| attribute.namespace().is_some())
    };
    if let Some(odd) = root.descendants().find(has_namespace) {
        return Err(format!(
            "it has a name in a namespace, in line {}; hwloc's XML has none",
            row(odd)
        ));
    }
    let version = version_of(root)?;
    // What is newer, libhwloc refuses by itself.
    if version <= 2 {
        let mut checker = Checker { is_old: version < 2, ..Checker::default() };
        let found = checker.check_object(machine, None);
        let found = found.and_then(|found| checker.check_all(machine, found.as_ref()));
        found.map_err(|fault| fault.tell(&document))?;
    }
    let mut clean = String::with_capacity(text.len());
    clean.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // The one that libhwloc's own parser looks for.
    let dtd = if version < 2 { "hwloc.dtd" } else { "hwloc2.dtd" };
    clean.push_str(&format!("<!DOCTYPE topology SYSTEM \"{dtd}\">\n"));
    write(root, &mut clean);
    Ok(clean)
}

/// The first number of the format's version. The first format said none.
fn version_of(root: Node<'_, '_>) -> Checked<u8> {
    let Some(version) = root.attribute("version") else { return Ok(1) };
    let numbers = version.split_once('.');
    let numbers = numbers.map(|(major, minor)| (major.parse(), minor.parse::<u8>()));
    match numbers {
        Some((Ok(major), Ok(_))) => Ok(major),
        _ => {
            let shown: String = version.chars().take(20).collect();
            Err(format!("its version=\"{shown}\" is not two numbers, such as \"2.0\""))
        }
    }
}

fn check_depth(root: Node<'_, '_>) -> Checked<()> {
    let mut path = Vec::new();
    for node in root.descendants().filter(Node::is_element) {
        let parent = node.parent().map(|parent| parent.id());
        while path.last().is_some_and(|last| Some(*last) != parent) {
            path.pop();
        }
        path.push(node.id());
        if path.len() > MAX_DEPTH {
            return Err(format!(
                "its objects are nested more than {MAX_DEPTH} deep; no machine is"
            ));
        }
    }
    Ok(())
}

/// Writes an element in the plain form that hwloc itself writes.
fn write(element: Node<'_, '_>, out: &mut String) {
    let name = element.tag_name().name();
    out.push('<');
    out.push_str(name);
    for attribute in element.attributes() {
        out.push(' ');
        out.push_str(attribute.name());
        out.push_str("=\"");
        escape(attribute.value(), out);
        out.push('"');
    }
    let content: String =
        element.children().filter(Node::is_text).filter_map(|node| node.text()).collect();
    let has_elements = element.children().any(|node| node.is_element());
    if !has_elements && content.trim().is_empty() {
        out.push_str("/>\n");
        return;
    }
    out.push('>');
    // An element of hwloc's has a text or other elements.
    if has_elements {
        out.push('\n');
        element.children().filter(Node::is_element).for_each(|child| write(child, out));
    } else {
        escape(&content, out);
    }
    out.push_str("</");
    out.push_str(name);
    out.push_str(">\n");
}

fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            '\t' => out.push_str("&#9;"),
            other => out.push(other),
        }
    }
}

/// What an object is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Normal,
    Pu,
    Memory,
    Numa,
    Io,
    Misc,
}

fn class_of(kind: &str) -> Option<Class> {
    Some(match kind {
        "Machine" | "System" | "Package" | "Socket" | "Die" | "Group" | "Tile" | "Module"
        | "Core" | "Cache" | "L5Cache" | "L4Cache" | "L3Cache" | "L2Cache" | "L1Cache"
        | "L3iCache" | "L2iCache" | "L1iCache" => Class::Normal,
        "PU" => Class::Pu,
        "NUMANode" => Class::Numa,
        "MemCache" => Class::Memory,
        "Bridge" | "PCIDev" | "OSDev" => Class::Io,
        "Misc" => Class::Misc,
        _ => return None,
    })
}

/// An object that is wrong, where it stands, and why.
struct Fault {
    kind: String,
    start: usize,
    reason: String,
}

impl Fault {
    fn tell(self, document: &Document<'_>) -> String {
        let row = document.text_pos_at(self.start).row;
        format!(
            "the {} in line {row} {}; it may be damaged, write it anew with `lstopo node.xml`",
            self.kind, self.reason
        )
    }
}

/// The sets of an object.
#[derive(Default)]
struct Sets {
    cpus: Bits,
    all_cpus: Bits,
    nodes: Bits,
    all_nodes: Bits,
}

#[derive(Default)]
struct Checker {
    /// Whether it is of hwloc 1, where memory has CPUs below it, and some sets may be missing.
    is_old: bool,
    numbers: HashSet<u32>,
    pus: usize,
    numas: HashSet<u32>,
}

impl Checker {
    /// Checks an object and all below it; returns its sets, if it has any.
    fn check_object(
        &mut self,
        object: Node<'_, '_>,
        around: Option<(Class, &Sets)>,
    ) -> std::result::Result<Option<(Class, Sets)>, Fault> {
        let fault = |reason: String| {
            let kind = object.attribute("type").unwrap_or("object");
            let kind = kind.chars().take(20).collect();
            Fault { kind, start: object.range().start, reason }
        };
        let kind = object.attribute("type").ok_or_else(|| fault("has no type".into()))?;
        let class = class_of(kind)
            .ok_or_else(|| fault("is of a type that hwloc 2 does not know".into()))?;
        // hwloc 1 had groups of that name, too.
        let class = match class {
            Class::Misc if self.is_old && object.has_attribute("cpuset") => Class::Normal,
            class => class,
        };
        self.check_place(kind, class, around.map(|(class, _)| class)).map_err(&fault)?;
        self.check_numbers(object, class).map_err(&fault)?;
        let sets = self.read_sets(object, class).map_err(&fault)?;
        if let (Some(sets), Some((_, around))) = (&sets, around) {
            check_inside(sets, around).map_err(&fault)?;
            let is_memory = matches!(class, Class::Memory | Class::Numa);
            if is_memory && !self.is_old && !around.cpus.is_inside(&sets.cpus) {
                return Err(fault("has other CPUs than what it is memory of".into()));
            }
        }
        let is_root = around.is_none();
        let parts = match class {
            // They are what is around it has.
            Class::Numa if self.is_old && !is_root => Vec::new(),
            _ => self.parts(object),
        };
        // A device has no sets; what can be below it has none either.
        let nothing = Sets::default();
        let around = Some((class, sets.as_ref().unwrap_or(&nothing)));
        let (mut taken, mut usable, mut before) = (Bits::default(), Bits::default(), None);
        for child in parts {
            let Some((class, below)) = self.check_object(child, around)? else { continue };
            // Memory can have the CPUs of other memory.
            if matches!(class, Class::Normal | Class::Pu) {
                if below.all_cpus.intersects(&taken) {
                    return Err(fault("has objects below it that share CPUs".into()));
                }
                // libhwloc sorts what is not in order, but not where memory is the root.
                let first = below.all_cpus.first();
                if kind == "NUMANode" && first < before {
                    return Err(fault("has objects below it that are not in order".into()));
                }
                before = first;
                taken.add(&below.all_cpus);
                usable.add(&below.cpus);
            }
        }
        let has_more = |sets: &Sets| !sets.cpus.is_inside(&usable);
        let has_parts = class == Class::Normal || (class == Class::Numa && is_root);
        if has_parts && sets.as_ref().is_some_and(has_more) {
            return Err(fault("has CPUs that no object below it has".into()));
        }
        Ok(sets.map(|sets| (class, sets)))
    }

    /// The objects that are a part of this one. What hwloc 1 put below memory is beside it in truth.
    fn parts<'a, 'input>(&self, object: Node<'a, 'input>) -> Vec<Node<'a, 'input>> {
        let mut parts = Vec::new();
        for child in object.children().filter(|node| node.has_tag_name("object")) {
            parts.push(child);
            if self.is_old && child.attribute("type") == Some("NUMANode") {
                parts.extend(self.parts(child));
            }
        }
        parts
    }

    /// Checks what only the whole can tell.
    fn check_all(
        &self,
        machine: Node<'_, '_>,
        found: Option<&(Class, Sets)>,
    ) -> std::result::Result<(), Fault> {
        let has_lost_some = |(_, sets): &(Class, Sets)| sets.nodes.count() > self.numas.len();
        let missing = match () {
            () if self.pus == 0 => "no CPUs",
            () if self.is_old && self.numas.is_empty() => return Ok(()),
            () if self.numas.is_empty() => "no NUMA nodes",
            () if found.is_some_and(has_lost_some) => "other NUMA nodes than its nodeset says",
            () => return Ok(()),
        };
        let start = machine.range().start;
        Err(Fault { kind: "Machine".into(), start, reason: format!("has {missing}") })
    }

    fn check_place(&self, kind: &str, class: Class, around: Option<Class>) -> Checked<()> {
        let is_good = match (class, around) {
            (Class::Numa, None) => self.is_old,
            (_, None) => matches!(kind, "Machine" | "System"),
            (Class::Misc, _) => true,
            (_, Some(Class::Misc | Class::Pu)) => false,
            (Class::Io, Some(around)) => matches!(around, Class::Normal | Class::Io),
            // A machine of hwloc 1 could have memory for its root.
            (Class::Normal | Class::Pu, Some(around)) => {
                around == Class::Normal || (around == Class::Numa && self.is_old)
            }
            (Class::Memory | Class::Numa, Some(around)) => {
                matches!(around, Class::Normal | Class::Memory)
            }
        };
        is_good.then_some(()).ok_or_else(|| "is where none can be".into())
    }

    /// Checks the numbers that an object has.
    fn check_numbers(&mut self, object: Node<'_, '_>, class: Class) -> Checked<()> {
        if !self.is_old {
            let number = object.attribute("gp_index").and_then(|number| number.parse().ok());
            if !number.is_some_and(|number| self.numbers.insert(number)) {
                return Err("has no gp_index of its own".into());
            }
        } else if object.has_attribute("gp_index") {
            return Err("has a gp_index, which hwloc 1 knew nothing of".into());
        }
        if !matches!(class, Class::Pu | Class::Numa) {
            return Ok(());
        }
        let index = object.attribute("os_index").unwrap_or_default();
        let Some(index) = index.parse().ok().filter(|index: &u32| *index <= MAX_INDEX) else {
            let shown: String = index.chars().take(20).collect();
            return Err(format!("has os_index=\"{shown}\"; it must be 0 to {MAX_INDEX}"));
        };
        match class {
            Class::Pu => self.pus += 1,
            _ if !self.numas.insert(index) => {
                return Err(format!("has os_index=\"{index}\", as another has"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads the sets of an object; devices have none.
    fn read_sets(&self, object: Node<'_, '_>, class: Class) -> Checked<Option<Sets>> {
        let read = |name: &str| {
            let text = object.attribute(name);
            let wrong = || {
                let shown: String = text.unwrap_or_default().chars().take(40).collect();
                format!("has {name}=\"{shown}\", which is no set")
            };
            text.map(|text| Bits::parse(text).ok_or_else(wrong)).transpose()
        };
        for name in ["allowed_cpuset", "allowed_nodeset", "online_cpuset"] {
            read(name)?;
        }
        let names = ["cpuset", "complete_cpuset", "nodeset", "complete_nodeset"];
        let [cpus, all_cpus, nodes, all_nodes] = names.map(read);
        let (cpus, all_cpus, nodes, all_nodes) = (cpus?, all_cpus?, nodes?, all_nodes?);
        if matches!(class, Class::Io | Class::Misc) {
            let has_none = [cpus, all_cpus, nodes, all_nodes].iter().all(Option::is_none);
            return match has_none {
                true => Ok(None),
                false => Err("has a set of CPUs or NUMA nodes, and must have none".into()),
            };
        }
        let (Some(cpus), Some(all_cpus)) = (cpus, all_cpus) else {
            return Err("has no cpuset or no complete_cpuset".into());
        };
        let (nodes, all_nodes) = match (nodes, all_nodes) {
            (Some(nodes), Some(all_nodes)) => (nodes, all_nodes),
            (None, None) if self.is_old => (Bits::default(), Bits::default()),
            _ => return Err("has no nodeset or no complete_nodeset".into()),
        };
        if !cpus.is_inside(&all_cpus) || !nodes.is_inside(&all_nodes) {
            return Err("has a set that is not inside its complete set".into());
        }
        let own = match class {
            Class::Pu => Some([&cpus, &all_cpus]),
            Class::Numa if !self.is_old || nodes != Bits::default() => Some([&nodes, &all_nodes]),
            _ => None,
        };
        if let Some(own) = own {
            let index = object.attribute("os_index").and_then(|index| index.parse().ok());
            let is_itself = |set: &Bits| index.is_some_and(|index| set.is_only(index));
            // hwloc 1 kept CPUs that may not be used.
            if !is_itself(own[1]) || !(is_itself(own[0]) || self.is_old && own[0].is_empty()) {
                return Err("has a set of other things than itself".into());
            }
        }
        Ok(Some(Sets { cpus, all_cpus, nodes, all_nodes }))
    }
}

fn check_inside(sets: &Sets, around: &Sets) -> Checked<()> {
    let is_inside = sets.cpus.is_inside(&around.cpus)
        && sets.all_cpus.is_inside(&around.all_cpus)
        && sets.nodes.is_inside(&around.nodes)
        && sets.all_nodes.is_inside(&around.all_nodes);
    is_inside
        .then_some(())
        .ok_or_else(|| "has CPUs or NUMA nodes that what is around it lacks".into())
}

/// A set as hwloc writes it: words of 32 bits, of which the first can stand for endless ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bits {
    /// The lowest first.
    words: Vec<u32>,
    /// Whether everything after the words is in the set.
    is_endless: bool,
}

impl Bits {
    fn parse(text: &str) -> Option<Self> {
        const MAX_WORDS: usize = (MAX_INDEX as usize + 1) / 32;
        let (is_endless, text) = match text.strip_prefix("0xf...f") {
            Some("") => return Some(Self { words: Vec::new(), is_endless: true }),
            Some(rest) => (true, rest.strip_prefix(',')?),
            None => (false, text),
        };
        let word = |text: &str| match text {
            "" => Some(0),
            text => {
                let digits = text.strip_prefix("0x")?;
                let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                (is_hex && digits.len() <= 8).then(|| u32::from_str_radix(digits, 16).ok())?
            }
        };
        if text.is_empty() || text.len() / 11 > MAX_WORDS {
            return None;
        }
        let words: Vec<u32> = text.rsplit(',').map(word).collect::<Option<_>>()?;
        (words.len() <= MAX_WORDS).then_some(Self { words, is_endless })
    }

    fn word(&self, at: usize) -> u32 {
        let after = if self.is_endless { u32::MAX } else { 0 };
        self.words.get(at).copied().unwrap_or(after)
    }

    /// Its words beside those of another set. What follows is empty, or, in an endless set, has one
    /// pair that stands for all of it.
    fn pairs<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (u32, u32)> + 'a {
        let end = match self.is_endless {
            true => self.words.len().max(other.words.len()) + 1,
            // A short set costs little, however long the other is.
            false => self.words.len(),
        };
        (0..end).map(|at| (self.word(at), other.word(at)))
    }

    fn is_inside(&self, other: &Self) -> bool {
        self.pairs(other).all(|(own, others)| own & !others == 0)
    }

    fn intersects(&self, other: &Self) -> bool {
        self.pairs(other).any(|(own, others)| own & others != 0)
    }

    fn count(&self) -> usize {
        let counted = self.words.iter().map(|word| word.count_ones() as usize).sum();
        if self.is_endless { usize::MAX } else { counted }
    }

    fn first(&self) -> Option<u32> {
        let end = self.words.len() + usize::from(self.is_endless);
        let at = (0..end).find(|at| self.word(*at) != 0)?;
        Some(at as u32 * 32 + self.word(at).trailing_zeros())
    }

    fn is_empty(&self) -> bool {
        !self.is_endless && self.words.iter().all(|word| *word == 0)
    }

    fn is_only(&self, index: u32) -> bool {
        let (at, bit) = (index as usize / 32, 1 << (index % 32));
        let is_right = |(place, word): (usize, &u32)| *word == if place == at { bit } else { 0 };
        !self.is_endless && self.word(at) == bit && self.words.iter().enumerate().all(is_right)
    }

    fn add(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            let after = if self.is_endless { u32::MAX } else { 0 };
            self.words.resize(other.words.len(), after);
        }
        let end = if other.is_endless { self.words.len() } else { other.words.len() };
        for (at, word) in self.words[..end].iter_mut().enumerate() {
            *word |= other.word(at);
        }
        self.is_endless |= other.is_endless;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(text: &str) -> Bits {
        Bits::parse(text).unwrap()
    }

    #[test]
    fn sets_are_read_as_hwloc_writes_them() {
        for (text, words, is_endless) in [
            ("0x0", vec![0], false),
            ("0x00000005", vec![5], false),
            ("0x00000001,,0x80000000", vec![1 << 31, 0, 1], false),
            ("0xf...f", vec![], true),
            ("0xf...f,0x00000001", vec![1], true),
        ] {
            assert_eq!(bits(text), Bits { words, is_endless }, "{text}");
        }
        for text in ["", "1", "0x", "0xg", "0x123456789", "0x+1", "0x1;", "0xf...f0x1", "0-3"] {
            assert_eq!(Bits::parse(text), None, "{text}");
        }
        assert!(Bits::parse(&",".repeat(40_000)).is_none());
    }

    #[test]
    fn sets_are_compared_beyond_their_words() {
        let (low, high, all) = (bits("0x3"), bits("0x1,,0x0"), bits("0xf...f"));
        assert!(low.is_inside(&all) && high.is_inside(&all) && !all.is_inside(&low));
        assert!(low.is_inside(&bits("0x1,0x7")) && !high.is_inside(&low) && !low.is_inside(&high));
        assert!(!low.intersects(&high) && high.intersects(&all) && all.intersects(&high));
        assert!(!low.intersects(&bits("0xf...f,0x0")) && high.intersects(&bits("0xf...f,0x0")));
        let firsts = [&low, &high, &all, &bits("0xf...f,0x0"), &bits("0x0")].map(Bits::first);
        assert_eq!(firsts, [Some(0), Some(64), Some(0), Some(32), None]);
        assert!(high.is_only(64) && !high.is_only(0) && !low.is_only(0) && !all.is_only(0));
        let mut both = low.clone();
        both.add(&high);
        assert_eq!(both, bits("0x1,0x0,0x3"));
        both.add(&bits("0xf...f,0x4"));
        assert_eq!(both, bits("0xf...f,0xffffffff,0xffffffff,0x7"));
    }
}
