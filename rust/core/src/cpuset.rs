//! Sets of CPU ids (OS indexes), and the list format that Linux, Slurm and hwloc share: `0-3,8`.

use std::fmt;
use std::ops::{BitAnd, BitOr, RangeInclusive, Sub};

use range_set_blaze::RangeSetBlaze;

use crate::Error;

/// The most items of a list of ids: as many as the CPUs of any machine. An iterator may have no end.
pub const MAX_IDS: usize = 1 << 20;

/// A set of ids: CPUs or NUMA nodes by OS index.
///
/// It is kept as disjoint ranges, so `0-4294967295` costs no more than `0`.
///
/// ```
/// use mpibind_core::CpuSet;
/// let set = CpuSet::parse("8,0-3").unwrap();
/// assert_eq!(set.to_string(), "0-3,8");
/// assert_eq!(set.len(), 5);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuSet(RangeSetBlaze<u32>);

impl CpuSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a list such as `0-3,8`. Blanks around the list and its items are accepted, because
    /// files end in newlines; an empty list, an empty item and a falling range are not.
    ///
    /// # Errors
    ///
    /// The text of what is wrong, fit to follow "the list ... ".
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("is empty".into());
        }
        text.split(',').map(parse_item).collect::<Result<_, _>>().map(Self)
    }

    /// Reads the list that a parameter holds.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] that names the parameter and says how a list looks.
    pub fn parse_parameter(parameter: &'static str, text: &str) -> Result<Self, Error> {
        Self::parse(text).map_err(|reason| {
            let legal = format!("the list {reason}; write ids and ranges such as \"0-3,8\"");
            Error::parameter(parameter, quoted(text), legal)
        })
    }

    /// Adds every id of a range.
    pub fn insert_range(&mut self, range: RangeInclusive<u32>) {
        self.0.ranges_insert(range);
    }

    /// Whether `id` is a member.
    pub fn contains(&self, id: u32) -> bool {
        self.0.contains(id)
    }

    /// The number of members.
    pub fn len(&self) -> usize {
        usize::try_from(self.0.len()).unwrap_or(usize::MAX)
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The members in rising order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter()
    }

    /// The smallest member.
    pub fn first(&self) -> Option<u32> {
        self.0.first()
    }

    /// The largest member.
    pub fn last(&self) -> Option<u32> {
        self.0.last()
    }

    /// The maximal runs of neighbouring members, in rising order.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u32>> + '_ {
        self.0.ranges()
    }

    /// Whether every member is a member of `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// Whether the two sets have no member in common.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.0.is_disjoint(&other.0)
    }
}

fn parse_item(item: &str) -> Result<RangeInclusive<u32>, String> {
    let number = |text: &str| {
        // `parse` alone would take "+3", which no other tool does.
        match text.trim() {
            digits if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits
                    .parse::<u32>()
                    .map_err(|_| format!("has an id that is too large: {}", quoted(digits)))
            }
            "" => Err(format!("has an item without a number: {}", quoted(item))),
            other => Err(format!("has something that is not an id: {}", quoted(other))),
        }
    };
    match item.split_once('-') {
        None => number(item).map(|id| id..=id),
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("has a range that runs backwards: {first}-{last}"));
            }
            Ok(first..=last)
        }
    }
}

/// The text between quotes, or its beginning: a wrong file can be as long as it likes.
fn quoted(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}...", &text[..end]),
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, range) in self.ranges().enumerate() {
            let comma = if position > 0 { "," } else { "" };
            let (first, last) = (range.start(), range.end());
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

impl FromIterator<u32> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> Self {
        Self(ids.into_iter().collect())
    }
}

impl BitAnd for &CpuSet {
    type Output = CpuSet;
    fn bitand(self, other: Self) -> CpuSet {
        CpuSet(&self.0 & &other.0)
    }
}

impl BitOr for &CpuSet {
    type Output = CpuSet;
    fn bitor(self, other: Self) -> CpuSet {
        CpuSet(&self.0 | &other.0)
    }
}

impl Sub for &CpuSet {
    type Output = CpuSet;
    fn sub(self, other: Self) -> CpuSet {
        CpuSet(&self.0 - &other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written_in_one_form() {
        for (text, canonical) in [
            ("0", "0"),
            ("3,2,1", "1-3"),
            (" 0-3 , 8\n", "0-3,8"),
            ("0-3,2-5,5", "0-5"),
            ("0,2,4", "0,2,4"),
            ("0-4294967295", "0-4294967295"),
        ] {
            assert_eq!(CpuSet::parse(text).unwrap().to_string(), canonical, "{text:?}");
        }
    }

    #[test]
    fn bad_lists_say_what_is_wrong() {
        for (text, words) in [
            ("", "empty"),
            (" \n", "empty"),
            ("3-x", "\"x\""),
            ("5-2", "backwards: 5-2"),
            ("1,,2", "without a number"),
            ("-3", "without a number"),
            ("+3", "\"+3\""),
            ("1-2-3", "\"2-3\""),
            ("4294967296", "too large"),
            ("0x3", "\"0x3\""),
            ("٣", "not an id"),
        ] {
            let message = CpuSet::parse(text).unwrap_err();
            assert!(message.contains(words), "{text:?} gave {message:?}");
        }
    }

    #[test]
    fn long_texts_are_shown_by_their_beginning() {
        let message = CpuSet::parse_parameter("restrict_ids", &"é/x:".repeat(900)).unwrap_err();
        assert!(message.to_string().contains("é/x:\"...; "), "{message}");
        assert!(message.to_string().len() < 300, "{message}");
    }

    #[test]
    fn set_operations() {
        let (a, b) = (CpuSet::parse("0-5").unwrap(), CpuSet::parse("4-9").unwrap());
        assert_eq!((&a & &b).to_string(), "4-5");
        assert_eq!((&a | &b).to_string(), "0-9");
        assert_eq!((&a - &b).to_string(), "0-3");
        assert!(!a.is_disjoint(&b) && !a.is_subset(&b) && (&a & &b).is_subset(&a));
        assert_eq!((a.first(), b.last(), CpuSet::new().first()), (Some(0), Some(9), None));
    }
}
