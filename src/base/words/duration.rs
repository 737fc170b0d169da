//! Lengths of time.

/// `0.35s`, `45s`, `3m 20s`, `1h 02m`, `3d 04h`: the two largest units. Hundredths below ten seconds,
/// unless they are zero.
#[must_use]
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 9.995 && seconds.fract() != 0.0 {
        return format!("{seconds:.2}s");
    }
    let whole = seconds.round() as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{whole}s"),
        (0, 0, m) => format!("{m}m {:02}s", whole % 60),
        (0, h, m) => format!("{h}h {m:02}m"),
        (d, h, _) => format!("{d}d {h:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        for (seconds, text) in [
            (0.0, "0s"),
            (0.354, "0.35s"),
            (9.0, "9s"),
            (9.996, "10s"),
            (42.4, "42s"),
            (59.6, "1m 00s"),
            (200.0, "3m 20s"),
            (3725.0, "1h 02m"),
            (7500.0, "2h 05m"),
            (273_600.0, "3d 04h"),
            (f64::NAN, "0s"),
            (-1.5, "0s"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
