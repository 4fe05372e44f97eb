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
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| {
        format!("it is not well-formed XML ({error}); it may be cut off or not be XML at all")
    })?;
    let root = document.root_element();
    if root.tag_name().name() != "topology" {
        let name: String = root.tag_name().name().chars().take(40).collect();
        return Err(format!(
            "it is XML, but of something else: its root is <{name}>, not <topology>"
        ));
    }
    let Some(machine) = root.children().find(|node| node.has_tag_name("object")) else {
        return Err("it is a topology without objects; write it anew with `lstopo node.xml`".into());
    };
    check_depth(root)?;
    let version = root.attribute("version").map_or("1", |version| {
        let major = version.split('.').next();
        major.unwrap_or_default()
    });
    // What is newer, libhwloc refuses by itself.
    if matches!(version, "1" | "2") {
        let mut checker = Checker { is_old: version == "1", ..Checker::default() };
        let found = checker.check_object(machine, None).and_then(|_| checker.check_all());
        found.map_err(|fault| fault.tell(&document))?;
    }
    let mut clean = String::with_capacity(text.len());
    clean.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // The one that libhwloc's own parser looks for.
    let dtd = if version == "1" { "hwloc.dtd" } else { "hwloc2.dtd" };
    clean.push_str(&format!("<!DOCTYPE topology SYSTEM \"{dtd}\">\n"));
    write(root, &mut clean);
    Ok(clean)
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
    numbers: HashSet<u64>,
    pus: usize,
    numas: HashSet<u32>,
}

impl Checker {
    /// Checks an object and all below it; returns its sets, if it has any.
    fn check_object(
        &mut self,
        object: Node<'_, '_>,
        around: Option<(Class, &Sets)>,
    ) -> std::result::Result<Option<(Class, Bits)>, Fault> {
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
        self.check_place(class, around.map(|(class, _)| class)).map_err(&fault)?;
        self.check_numbers(object, class).map_err(&fault)?;
        let sets = self.read_sets(object, class).map_err(&fault)?;
        if let (Some(sets), Some((_, around))) = (&sets, around) {
            check_inside(sets, around).map_err(&fault)?;
        }
        let parts = match (class, around) {
            (Class::Numa, Some(_)) if self.is_old => Vec::new(), // They are what is around it has.
            _ => self.parts(object),
        };
        let around = sets.as_ref().map(|sets| (class, sets)).or(around);
        let mut taken = Bits::default();
        for child in parts {
            let Some((class, cpus)) = self.check_object(child, around)? else { continue };
            // Memory can have the CPUs of other memory.
            if matches!(class, Class::Normal | Class::Pu) {
                if taken.intersects(&cpus) {
                    return Err(fault("has objects below it that share CPUs".into()));
                }
                taken.add(&cpus);
            }
        }
        Ok(sets.map(|sets| (class, sets.all_cpus)))
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

    fn check_all(&self) -> std::result::Result<(), Fault> {
        let missing = match () {
            () if self.pus == 0 => "CPUs",
            () if self.numas.is_empty() && !self.is_old => "NUMA nodes",
            () => return Ok(()),
        };
        Err(Fault { kind: "Machine".into(), start: 0, reason: format!("has no {missing}") })
    }

    fn check_place(&self, class: Class, around: Option<Class>) -> Checked<()> {
        let is_good = match (class, around) {
            (Class::Normal, None) => true,
            (Class::Numa, None) => self.is_old,
            (_, None) => false,
            (Class::Misc, _) => true,
            (_, Some(Class::Misc | Class::Pu)) => false,
            (Class::Io, Some(around)) => around != Class::Memory,
            (Class::Normal | Class::Pu, Some(Class::Numa)) => self.is_old,
            (Class::Normal | Class::Pu, Some(around)) => around == Class::Normal,
            (Class::Memory | Class::Numa, Some(around)) => around != Class::Io,
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
            Class::Pu => Some(&all_cpus),
            Class::Numa => Some(&all_nodes),
            _ => None,
        };
        let index = object.attribute("os_index").and_then(|index| index.parse().ok());
        if own.is_some_and(|own| index.is_none_or(|index| !own.is_only(index))) {
            return Err("has a set of other things than itself".into());
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

    /// The words that two sets have, and one more for all that follow.
    fn pairs<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (u32, u32)> + 'a {
        (0..=self.words.len().max(other.words.len())).map(|at| (self.word(at), other.word(at)))
    }

    fn is_inside(&self, other: &Self) -> bool {
        self.pairs(other).all(|(own, others)| own & !others == 0)
    }

    fn intersects(&self, other: &Self) -> bool {
        self.pairs(other).any(|(own, others)| own & others != 0)
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
        for (at, word) in self.words.iter_mut().enumerate() {
            *word |= other.word(at);
        }
        self.is_endless |= other.is_endless;
    }
}
