//! Network cards that programs open by themselves: OpenFabrics devices, and the network devices of
//! Slingshot and BXI.

/// Who makes network devices of that kind: HPE Cray, Atos.
const MAKERS: [u16; 2] = [0x17db, 0x119f];

/// Whether a network device of this maker is one of Slingshot or BXI.
pub(crate) fn is_high_speed(vendor_id: u16) -> bool {
    MAKERS.contains(&vendor_id)
}

/// The first active port of an OpenFabrics device, or the first where none is active; and whether
/// it is known that none is. States are as in `/sys/class/infiniband`: `4` or `4: ACTIVE`.
pub(crate) fn port_of(states: &[(u32, String)]) -> (Option<u32>, bool) {
    let active = states.iter().find(|(_, state)| state.trim_start().starts_with('4'));
    let port = active.or(states.first()).map_or(1, |(port, _)| *port);
    (Some(port), active.is_none() && !states.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_the_first_active_one() {
        let states = |texts: &[&str]| -> Vec<(u32, String)> {
            (1..).zip(texts).map(|(port, text)| (port, (*text).to_owned())).collect()
        };
        assert_eq!(port_of(&states(&["4"])), (Some(1), false));
        assert_eq!(port_of(&states(&["1: DOWN", "4: ACTIVE"])), (Some(2), false));
        assert_eq!(port_of(&states(&["2: INIT", "1: DOWN"])), (Some(1), true));
        assert_eq!(port_of(&[]), (Some(1), false));
    }
}
