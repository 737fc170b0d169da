//! Processor time of finished commands.

/// Ticks per second in `/proc`, the same on every architecture of Linux.
const TICKS: f64 = 100.0;

/// Processor seconds of all commands that this process has started and waited for, theirs included; `None` except
/// on Linux.
#[must_use]
pub fn cpu_seconds() -> Option<f64> {
    of_stat(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// `cutime` and `cstime`, the 16th and 17th field. The second is a name in parentheses, which may hold spaces.
fn of_stat(stat: &str) -> Option<f64> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_whitespace().skip(13);
    let ticks = |field: Option<&str>| field?.parse::<f64>().ok();
    Some((ticks(fields.next())? + ticks(fields.next())?) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_s_time_is_read_whatever_the_program_is_called() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 250 50 20 0 1 0";
        assert_eq!(of_stat(stat), Some(3.0));
        assert_eq!(of_stat("7 (a"), None);
    }
}
