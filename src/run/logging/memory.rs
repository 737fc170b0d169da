//! The most memory a run has needed.

use std::fs;

use tch::Device;

/// Peak bytes so far: allocated tensors on a GPU, else the process's resident set. `None` if the
/// system does not report it.
#[must_use]
pub fn peak_memory(device: Device) -> Option<u64> {
    match device {
        Device::Cuda(index) => {
            sonotune_shim::cuda_memory(index).ok()?.allocated_peak.try_into().ok()
        }
        _ => high_water_mark(&fs::read_to_string("/proc/self/status").ok()?),
    }
}

fn high_water_mark(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_covers_what_was_touched() {
        assert_eq!(high_water_mark("VmPeak:\t 9 kB\nVmHWM:\t  1234 kB\n"), Some(1234 * 1024));
        let before = peak_memory(Device::Cpu).unwrap();
        let block = std::hint::black_box(vec![1u8; before as usize + (64 << 20)]);
        assert!(peak_memory(Device::Cpu).unwrap() >= block.len() as u64);
    }
}
