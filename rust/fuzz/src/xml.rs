//! XML that is changed where it matters: whole elements, attributes, bits of sets.

use roxmltree::{Document, Node, ParsingOptions};

use crate::Chance;

#[derive(Clone)]
struct Element {
    tag: String,
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<Element>,
}

const VALUES: [&str; 40] = [
    "",
    "0",
    "1",
    "-1",
    "2",
    "3",
    "9",
    "63",
    "64",
    "1048575",
    "1048576",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "99999999999999999999",
    "0x0",
    "0x1",
    "0x3",
    "0xf...f",
    "0xf...f,0x1",
    "0x1,,0x1",
    "0xffffffff,0xffffffff,0xffffffff",
    "x",
    "1.5",
    "0-1",
    "0-3",
    "1-0",
    "PU",
    "Core",
    "NUMANode",
    "Machine",
    "Group",
    "L2Cache",
    "Bridge",
    "PCIDev",
    "OSDev",
    "Misc",
    "0000:00:00.0",
    "0302 [10de:20b0 [0000:0000]] a1",
    "NUMANode:0",
];

/// One to six changes; none if the text is no XML.
pub fn mutate(text: &str, chance: &mut Chance) -> Option<String> {
    let options = ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = Document::parse_with_options(text, options).ok()?;
    let mut root = read(document.root_element());
    for _ in 0..*chance.of(&[1, 1, 1, 2, 3, 6]) {
        change(&mut root, chance);
    }
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    write(&root, &mut out);
    Some(out)
}

fn read(node: Node<'_, '_>) -> Element {
    Element {
        tag: node.tag_name().name().to_owned(),
        attributes: node
            .attributes()
            .map(|a| (a.name().to_owned(), a.value().to_owned()))
            .collect(),
        text: node.text().unwrap_or_default().trim().to_owned(),
        children: node.children().filter(Node::is_element).map(read).collect(),
    }
}

fn write(element: &Element, out: &mut String) {
    let escape =
        |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    out.push_str(&format!("<{}", element.tag));
    for (name, value) in &element.attributes {
        out.push_str(&format!(" {name}=\"{}\"", escape(value)));
    }
    out.push_str(&format!(">{}", escape(&element.text)));
    element.children.iter().for_each(|child| write(child, out));
    out.push_str(&format!("</{}>\n", element.tag));
}

fn count(element: &Element) -> usize {
    1 + element.children.iter().map(count).sum::<usize>()
}

/// The element of this number, counted from the top.
fn at(element: &mut Element, mut number: usize) -> &mut Element {
    if number == 0 {
        return element;
    }
    number -= 1;
    for child in &mut element.children {
        let size = count(child);
        if number < size {
            return at(child, number);
        }
        number -= size;
    }
    unreachable!("there are not as many elements")
}

fn any<'a>(root: &'a mut Element, chance: &mut Chance) -> &'a mut Element {
    let number = chance.below(count(root));
    at(root, number)
}

fn change(root: &mut Element, chance: &mut Chance) {
    let other = any(root, chance).clone();
    let element = any(root, chance);
    let attribute = chance.below(element.attributes.len());
    let child = chance.below(element.children.len());
    let has_attributes = !element.attributes.is_empty();
    let has_children = !element.children.is_empty();
    match chance.below(12) {
        0 if has_attributes => drop(element.attributes.remove(attribute)),
        1 | 2 if has_attributes => {
            element.attributes[attribute].1 = (*chance.of(&VALUES)).to_owned();
        }
        3 | 4 if has_attributes => flip(&mut element.attributes, chance),
        // What another one says of itself.
        5 => {
            for (name, value) in &mut element.attributes {
                let same = other.attributes.iter().find(|(other, _)| other == name);
                if let Some((_, theirs)) = same.filter(|_| chance.below(3) > 0) {
                    value.clone_from(theirs);
                }
            }
        }
        6 if has_children => drop(element.children.remove(child)),
        7 if has_children => element.children.push(element.children[child].clone()),
        8 if count(&other) < 200 => element.children.push(other),
        // Takes an element out and leaves what was in it.
        9 if has_children => {
            let gone = element.children.remove(child);
            element.children.splice(child..child, gone.children);
        }
        10 if has_children => {
            let taken = element.children.remove(child);
            any(root, chance).children.push(taken);
        }
        // To libhwloc another one of the same name.
        11 if has_attributes => {
            let (name, _) = &element.attributes[attribute];
            let value = (*chance.of(&VALUES)).to_owned();
            element.attributes.push((format!("xml:{name}"), value));
        }
        _ if !element.text.is_empty() => {
            let texts = ["", "-1", "1 2 3", "99999999999", "NUMANode:0 PU:1"];
            element.text = (*chance.of(&texts)).to_owned();
        }
        _ => {}
    }
}

/// Changes a bit of a set.
fn flip(attributes: &mut [(String, String)], chance: &mut Chance) {
    let mut sets: Vec<_> =
        attributes.iter_mut().filter(|(name, _)| name.ends_with("set")).collect();
    if sets.is_empty() {
        return;
    }
    let set = chance.below(sets.len());
    let mut words: Vec<String> = sets[set].1.split(',').map(str::to_owned).collect();
    let word = chance.below(words.len());
    let digits = words[word].trim_start_matches("0x");
    if let Ok(bits) = u32::from_str_radix(digits, 16) {
        words[word] = format!("{:#010x}", bits ^ (1 << chance.below(32)));
    }
    sets[set].1 = words.join(",");
}
