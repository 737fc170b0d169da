//! Slurm's short forms of lists: `node[003-005,7]` for names, `4(x2),3` for numbers.

/// The first machine of a list of machines. Names may have ranges at several places:
/// `rack[1-2]node[08-15],login1`.
pub(super) fn first(list: &str) -> Option<String> {
    let mut name = String::new();
    let mut rest = list.trim();
    loop {
        let (plain, after) = match rest.find(['[', ',']) {
            Some(at) if rest[at..].starts_with('[') => (&rest[..at], Some(&rest[at + 1..])),
            Some(at) => (&rest[..at], None),
            None => (rest, None),
        };
        name.push_str(plain);
        let Some(after) = after else { break };
        let (ranges, behind) = after.split_once(']')?;
        let number = ranges.split([',', '-']).next()?;
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        name.push_str(number);
        rest = behind;
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (!name.is_empty() && name.bytes().all(is_name)).then_some(name)
}

/// The numbers of `4(x2),3`: 4, 4, 3.
pub(super) fn counts(text: &str) -> Option<Vec<usize>> {
    /// More machines than any system has.
    const MOST: usize = 1 << 20;
    let mut counts = Vec::new();
    for part in text.split(',') {
        let (count, times) = match part.split_once("(x") {
            Some((count, times)) => (count, times.strip_suffix(')')?.parse().ok()?),
            None => (part, 1),
        };
        let count = count.trim().parse().ok().filter(|&count: &usize| count > 0)?;
        if times == 0 || times > MOST - counts.len() {
            return None;
        }
        counts.extend(std::iter::repeat_n(count, times));
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_machine_of_every_form() {
        for (list, expected) in [
            ("node7", "node7"),
            ("node7,node9", "node7"),
            ("node[003-005,7]", "node003"),
            ("node[12,14-15],login1", "node12"),
            ("rack[1-2]node[08-15]", "rack1node08"),
            ("gpu-a[1-2]-ib,gpu-b1-ib", "gpu-a1-ib"),
            ("n1.cluster.org", "n1.cluster.org"),
        ] {
            assert_eq!(first(list).as_deref(), Some(expected), "{list}");
        }
        for broken in ["", ",node1", "node[", "node[]", "node[a-b]", "node[1", "(null)", "a b"] {
            assert_eq!(first(broken), None, "{broken}");
        }
    }

    #[test]
    fn counts_repeat() {
        assert_eq!(counts("4(x2),3").unwrap(), [4, 4, 3]);
        assert_eq!(counts("8").unwrap(), [8]);
        assert_eq!(counts("2,1(x3)").unwrap(), [2, 1, 1, 1]);
        for broken in ["", "4(x", "4(x0)", "x", "4,,3", "0", "-1", "4(x99999999999)", "4(2)"] {
            assert_eq!(counts(broken), None, "{broken}");
        }
    }
}
