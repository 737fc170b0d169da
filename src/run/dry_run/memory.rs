//! How much memory there is, how much was used, and detecting out-of-memory errors.

use tch::{Device, Tensor};

use crate::{doctor::probe, logging::peak_memory};

/// Reads a device's memory.
#[derive(Debug)]
pub(super) struct Meter {
    device: Device,
}

impl Meter {
    /// Resets the peaks of a GPU.
    pub(super) fn new(device: Device) -> Self {
        if let Device::Cuda(index) = device {
            // Without the reset the peak is that of the process, as on a CPU.
            drop(sonotune_shim::cuda_reset_peak(index));
        }
        Self { device }
    }

    /// Bytes of the device, or of main memory within the container's limit.
    pub(super) fn total(&self) -> Option<u64> {
        match self.device {
            Device::Cuda(index) => sonotune_shim::cuda_memory(index).ok()?.total.try_into().ok(),
            _ => {
                let memory = probe::memory();
                let total = memory.total?;
                Some(memory.cgroup_limit.map_or(total, |limit| limit.min(total)))
            }
        }
    }

    /// Bytes that this process can reach: what it holds plus what is left.
    pub(super) fn available(&self) -> Option<u64> {
        match self.device {
            Device::Cuda(index) => {
                let memory = sonotune_shim::cuda_memory(index).ok()?;
                let available = memory.free.saturating_add(memory.reserved).min(memory.total);
                available.try_into().ok()
            }
            _ => {
                let memory = probe::memory();
                let left = memory.cgroup_limit.zip(memory.cgroup_used);
                let left = left.map_or(u64::MAX, |(limit, used)| limit.saturating_sub(used));
                Some(memory.available?.min(left).saturating_add(probe::resident().unwrap_or(0)))
            }
        }
    }

    /// Bytes of a GPU that other processes hold, if they are more than a tenth of it: the driver's own share
    /// is less. Ask before anything is computed: only the peak of what this process reserved is known.
    pub(super) fn held_by_others(&self) -> Option<u64> {
        let Device::Cuda(index) = self.device else { return None };
        let memory = sonotune_shim::cuda_memory(index).ok()?;
        let held = memory.total - memory.free - memory.reserved_peak;
        (held.saturating_mul(10) > memory.total).then_some(held)?.try_into().ok()
    }

    /// Peak of the memory used, and on a GPU of the memory reserved from the driver.
    pub(super) fn peaks(&self) -> (Option<u64>, Option<u64>) {
        let reserved = match self.device {
            Device::Cuda(index) => sonotune_shim::cuda_memory(index)
                .ok()
                .and_then(|memory| memory.reserved_peak.try_into().ok()),
            _ => None,
        };
        (peak_memory(self.device), reserved)
    }
}

/// Bytes of a tensor's values.
pub(super) fn size(tensor: &Tensor) -> u64 {
    (tensor.numel() * tensor.kind().elt_size_in_bytes()) as u64
}

/// Peak of a batch of `count` images if one image has the peak `one` and each further image adds `each`.
pub(super) fn extrapolate(one: u64, each: u64, count: usize) -> u64 {
    one.saturating_add(each.saturating_mul((count as u64).saturating_sub(1)))
}

/// How many images fit by the peaks of batches of one image and of `count`, if each takes `ahead` besides.
/// `None` if one batch is not larger than the other.
pub(super) fn predicted(
    (one, (count, peak)): (u64, (usize, u64)),
    ahead: u64,
    available: u64,
) -> Option<usize> {
    let each = peak.saturating_sub(one).checked_div((count as u64).saturating_sub(1))?;
    Some(most_images(one.saturating_add(ahead), each.saturating_add(ahead), available))
}

/// How many images have a peak of at most `available`.
pub(super) fn most_images(one: u64, each: u64, available: u64) -> usize {
    if one > available {
        return 0;
    }
    1 + (available - one).checked_div(each).unwrap_or(u64::MAX - 1).min(1 << 20) as usize
}

/// Whether an error is libtorch's that a device, or the system, has no memory left.
pub(super) fn is_out_of_memory(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    ["out of memory", "can't allocate memory", "Cannot allocate memory", "std::bad_alloc"]
        .iter()
        .any(|words| text.contains(words))
}

/// Returns cached memory to the driver.
pub(super) fn give_back(device: Device) {
    if device.is_cuda() {
        // What stays cached only reduces the memory for the next try.
        drop(sonotune_shim::cuda_empty_cache());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonotune_base::panics::catching;

    #[test]
    fn memory_grows_by_the_image() {
        assert_eq!(extrapolate(100, 10, 1), 100);
        assert_eq!(extrapolate(100, 10, 8), 170);
        assert_eq!(most_images(100, 10, 170), 8);
        assert_eq!(most_images(100, 10, 179), 8);
        assert_eq!(most_images(100, 10, 99), 0);
        assert!(most_images(100, 0, 100) > 1000);
        assert_eq!(predicted((100, (4, 130)), 0, 170), Some(8));
        assert_eq!(predicted((100, (4, 130)), 5, 170), Some(5));
        assert_eq!(predicted((100, (4, 130)), 0, 99), Some(0));
        assert_eq!(predicted((100, (1, 100)), 0, 170), None);
    }

    #[test]
    fn running_out_of_memory_is_told_from_other_errors() {
        let cuda = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of";
        let cpu = "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: \
                   you tried to allocate 4398046511104 bytes. Error code 12 (Cannot allocate memory)";
        for text in [cuda, cpu] {
            let error = catching::<()>(String::new, || panic!("{text}")).unwrap_err();
            assert!(is_out_of_memory(&error), "{error}");
        }
        let error = catching::<()>(String::new, || panic!("shape mismatch")).unwrap_err();
        assert!(!is_out_of_memory(&error));
        // libtorch's own words.
        let huge = catching(String::new, || {
            let _ = tch::Tensor::f_zeros([1 << 50], (tch::Kind::Float, Device::Cpu))?;
            Ok(())
        });
        assert!(is_out_of_memory(&huge.unwrap_err()));
    }

    #[test]
    fn this_machines_memory_is_told() {
        let meter = Meter::new(Device::Cpu);
        let (total, available) = (meter.total().unwrap(), meter.available().unwrap());
        assert!(total > 0 && available > 0);
        assert!(meter.peaks().0.unwrap() > 0);
    }
}
