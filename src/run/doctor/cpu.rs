//! Processors, threads and memory.

use sonotune_base::words::bytes;

use super::{Check, CpuFacts, MemoryFacts};

pub(super) fn checks(cpu: &CpuFacts, memory: &MemoryFacts) -> Vec<Check> {
    let mut checks = vec![threads(cpu)];
    checks.extend(products(cpu));
    checks.extend(main_memory(memory));
    checks
}

fn threads(cpu: &CpuFacts) -> Check {
    const NAME: &str = "processors";
    let CpuFacts { cores, threads, .. } = *cpu;
    let mut found = format!("{cores} cores, {threads} libtorch threads");
    found += &match cpu.waiting.as_slice() {
        [] => " that sleep when they wait beside other work".to_owned(),
        [policy] if policy.eq_ignore_ascii_case("OMP_WAIT_POLICY=passive") => {
            " that sleep when they wait".to_owned()
        }
        set => format!(" that wait as the environment says ({})", set.join(", ")),
    };
    if let Some(quota) = cpu.cgroup_cores.filter(|&quota| quota < cores as f64) {
        found += &format!(", container limited to {quota:.1} cores");
        if threads as f64 > quota.ceil() {
            return Check::warn(
                NAME,
                found,
                format!(
                    "set OMP_NUM_THREADS={}: threads beyond the limit only wait for each other",
                    quota.ceil().max(1.0)
                ),
            );
        }
    }
    let omp = cpu.omp_num_threads.as_deref();
    if let Some(omp) = omp {
        found += &format!(" (OMP_NUM_THREADS={omp})");
    }
    if threads > cores {
        return Check::warn(
            NAME,
            found,
            format!("more threads than cores slow each other down: set OMP_NUM_THREADS={cores}"),
        );
    }
    if threads * 2 < cores && omp.is_some() {
        return Check::warn(
            NAME,
            found,
            "OMP_NUM_THREADS leaves most cores unused; unset it unless others need them",
        );
    }
    Check::ok(NAME, found)
}

/// 1024 products with a rounding of 6e-8 (fp32) or 4e-3 (bf16): an order of magnitude to spare.
const FP32_ERROR: f64 = 1e-3;
const BF16_ERROR: f64 = 5e-2;

fn products(cpu: &CpuFacts) -> Option<Check> {
    const NAME: &str = "arithmetic";
    const REMEDY: &str = "the device or its libtorch is broken: try --device cpu; for a GPU, see its \
                          driver's log (`dmesg`)";
    Some(match cpu.products.as_ref()? {
        Ok((fp32, bf16)) if *fp32 < FP32_ERROR && *bf16 < BF16_ERROR => {
            Check::ok(NAME, format!("matrix products are correct within {fp32:.0e} (fp32)"))
        }
        Ok((fp32, bf16)) => Check::fail(
            NAME,
            format!("matrix products are wrong by {fp32:.1e} (fp32), {bf16:.1e} (bf16)"),
            REMEDY,
        ),
        Err(message) => Check::fail(NAME, format!("a matrix product failed: {message}"), REMEDY),
    })
}

/// With less, even a small model with its images cannot be trained.
const LEAST_MEMORY: u64 = 2 << 30;

fn main_memory(memory: &MemoryFacts) -> Option<Check> {
    const NAME: &str = "memory";
    let (total, available) = (memory.total?, memory.available?);
    let mut found = format!("{} of {} available", bytes(available), bytes(total));
    let left = match (memory.cgroup_limit, memory.cgroup_used) {
        (Some(limit), used) if limit < total => {
            let left = limit.saturating_sub(used.unwrap_or(0)).min(available);
            found += &format!("; the container's limit is {}", bytes(limit));
            if let Some(used) = used {
                found += &format!(", {} of it used", bytes(used));
            }
            left
        }
        _ => available,
    };
    match memory.swap_total.zip(memory.swap_free) {
        Some((swap, free)) if swap > 0 => {
            let used = swap - free.min(swap);
            found += &format!("; swap {}, {} used", bytes(swap), bytes(used));
        }
        _ => found += "; no swap: a process that does not fit is killed",
    }
    if left <= LEAST_MEMORY {
        return Some(Check::warn(
            NAME,
            found,
            "little is left for a run: `sonotune train CONFIG --dry-run` reports what it needs; raise \
             the container's limit, or close other programs",
        ));
    }
    Some(Check::ok(NAME, found))
}
