//! The adaptive prediction of JPEG-LS (ITU-T T.87, annex A), with the standard's names.

use anyhow::{Result, bail, ensure};

/// Bits of a scan: after a byte of ones, the next has a stuffed zero in front.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    buffer: u64,
    count: u32,
    after_ones: bool,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, buffer: 0, count: 0, after_ones: false }
    }

    /// Where the next marker is, once a scan is read.
    pub(super) fn position(&self) -> usize {
        let is_marker = |pair: &[u8]| pair[0] == 0xFF && pair[1] >= 0x80;
        let from = self.at.saturating_sub(self.count as usize / 8 + 2);
        let rest = self.bytes.get(from..).unwrap_or_default();
        from + rest.windows(2).position(is_marker).unwrap_or(rest.len())
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let Some(&byte) = self.bytes.get(self.at) else { return };
            if self.after_ones && byte >= 0x80 {
                return;
            }
            let width = if self.after_ones { 7 } else { 8 };
            self.buffer = self.buffer << width | u64::from(byte);
            self.count += width;
            self.after_ones = byte == 0xFF;
            self.at += 1;
        }
    }

    fn bits(&mut self, width: u32) -> Result<i32> {
        if width == 0 {
            return Ok(0);
        }
        if self.count < width {
            self.fill();
            ensure!(self.count >= width, "it ends too soon");
        }
        self.count -= width;
        Ok((self.buffer >> self.count & ((1 << width) - 1)) as i32)
    }

    /// A number in Golomb's code of parameter `k`, limited as A.5.3 says.
    fn golomb(&mut self, k: u32, limit: u32, qbpp: u32) -> Result<i32> {
        let mut zeros = 0;
        while self.bits(1)? == 0 {
            zeros += 1;
            ensure!(zeros <= limit, "it has a code that is too long");
        }
        if zeros < limit - qbpp - 1 {
            return Ok(((zeros as i32) << k) + self.bits(k)?);
        }
        Ok(self.bits(qbpp)? + 1)
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Parameters {
    maxval: i32,
    near: i32,
    thresholds: [i32; 3],
    reset: i32,
    range: i32,
    qbpp: u32,
    limit: u32,
}

/// Bits that numbers below `n` need.
fn ceil_log2(n: i32) -> u32 {
    (n - 1).max(0).checked_ilog2().map_or(0, |bits| bits + 1)
}

impl Parameters {
    /// Presets of 0 take the defaults of C.2.4.1.1.
    pub(super) fn new(bits: u32, near: i32, presets: [i32; 5]) -> Result<Self> {
        let [maxval, t1, t2, t3, reset] = presets;
        let maxval = if maxval == 0 { (1 << bits) - 1 } else { maxval };
        ensure!((1..1 << bits).contains(&maxval), "its MAXVAL {maxval} does not fit {bits} bits");
        ensure!(near <= 255.min(maxval / 2), "its NEAR {near} is too large for MAXVAL {maxval}");
        let clamp = |value: i32, low: i32| if value > maxval || value < low { low } else { value };
        let basic = |small: i32, large: i32, step: i32| {
            if maxval >= 128 {
                let factor = (maxval.min(4095) + 128) >> 8;
                factor * (large - small) + small + step * near
            } else {
                let factor = 256 / (maxval + 1);
                small.max(large / factor + step * near)
            }
        };
        let or = |preset: i32, default: i32| if preset == 0 { default } else { preset };
        let t1 = or(t1, clamp(basic(2, 3, 3), near + 1));
        let t2 = or(t2, clamp(basic(3, 7, 5), t1));
        let t3 = or(t3, clamp(basic(4, 21, 7), t2));
        ensure!(
            near < t1 && t1 <= t2 && t2 <= t3 && t3 <= maxval.max(near + 1),
            "its thresholds {t1}, {t2} and {t3} do not ascend"
        );
        let reset = or(reset, 64);
        ensure!(reset >= 3, "its RESET {reset} is below 3");
        let range = (maxval + 2 * near) / (2 * near + 1) + 1;
        let bpp = ceil_log2(maxval + 1).max(2);
        let limit = 2 * (bpp + bpp.max(8));
        Ok(Self {
            maxval,
            near,
            thresholds: [t1, t2, t3],
            reset,
            range,
            qbpp: ceil_log2(range),
            limit,
        })
    }

    /// Half of a mapped error, rounded up: the size of the error, which is at most the range.
    fn half(&self, mapped: i32) -> Result<i32> {
        let half = (mapped + 1) >> 1;
        ensure!(half <= self.range, "it has an error that is too large for its depth");
        Ok(half)
    }

    fn quantize(&self, gradient: i32) -> i32 {
        let [t1, t2, t3] = self.thresholds;
        let level = match gradient.abs() {
            size if size >= t3 => 4,
            size if size >= t2 => 3,
            size if size >= t1 => 2,
            size if size > self.near => 1,
            _ => 0,
        };
        level * gradient.signum()
    }

    /// The sample for a prediction and its error, wrapped and clipped.
    fn reconstruct(&self, predicted: i32, error: i32) -> i32 {
        let step = 2 * self.near + 1;
        let mut value = predicted + error * step;
        if value < -self.near {
            value += self.range * step;
        } else if value > self.maxval + self.near {
            value -= self.range * step;
        }
        value.clamp(0, self.maxval)
    }
}

#[derive(Debug, Clone, Copy)]
struct Context {
    a: i64,
    b: i64,
    c: i32,
    n: i32,
}

/// Context of samples that end a run.
#[derive(Debug, Clone, Copy)]
struct RunContext {
    a: i64,
    n: i32,
    negatives: i32,
}

/// Orders of run segments (A.2.1).
const J: [u32; 32] = [
    0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13,
    14, 15,
];

/// A scan in progress: the last two rows of each component, with a sample of margin on either side.
pub(super) struct Scan {
    parameters: Parameters,
    width: usize,
    contexts: [Context; 365],
    runs: [RunContext; 2],
    run_index: Vec<usize>,
    above: Vec<Vec<i32>>,
    current: Vec<Vec<i32>>,
}

impl Scan {
    pub(super) fn new(parameters: Parameters, width: usize, components: usize) -> Self {
        let a = i64::from((parameters.range + 32) / 64).max(2);
        let rows = vec![vec![0; width + 2]; components];
        Self {
            parameters,
            width,
            contexts: [Context { a, b: 0, c: 0, n: 1 }; 365],
            runs: [RunContext { a, n: 1, negatives: 0 }; 2],
            run_index: vec![0; components],
            above: rows.clone(),
            current: rows,
        }
    }

    /// The row that was decoded last.
    pub(super) fn row(&self, component: usize) -> &[i32] {
        &self.current[component][1..=self.width]
    }

    /// Goes to the next row.
    pub(super) fn advance(&mut self) {
        std::mem::swap(&mut self.above, &mut self.current);
    }

    /// Sets the margins of a row: to the right as the last sample above, to the left as the first.
    fn margins(&mut self, component: usize) {
        let above = &mut self.above[component];
        above[self.width + 1] = above[self.width];
        self.current[component][0] = above[1];
    }

    /// The neighbours a, b, c and d of a sample (figure 3).
    fn neighbours(&self, component: usize, x: usize) -> [i32; 4] {
        let (above, current) = (&self.above[component], &self.current[component]);
        [current[x - 1], above[x], above[x - 1], above[x + 1]]
    }

    /// The signed number of the context; 0 is flat.
    fn context(&self, [a, b, c, d]: [i32; 4]) -> i32 {
        let q = |gradient| self.parameters.quantize(gradient);
        (q(d - b) * 9 + q(b - c)) * 9 + q(c - a)
    }

    /// One row of one component.
    pub(super) fn line(&mut self, bits: &mut Bits, component: usize) -> Result<()> {
        self.margins(component);
        let mut x = 1;
        while x <= self.width {
            let neighbours = self.neighbours(component, x);
            let context = self.context(neighbours);
            if context != 0 {
                self.current[component][x] = self.regular(bits, neighbours, context)?;
                x += 1;
                continue;
            }
            let length = self.run(bits, component, self.width + 1 - x)?;
            let [a, ..] = neighbours;
            self.current[component][x..x + length].fill(a);
            x += length;
            if x <= self.width {
                let b = self.above[component][x];
                let flat = (a - b).abs() <= self.parameters.near;
                self.current[component][x] = self.interruption(bits, (a, b), flat, component)?;
                self.run_index[component] = self.run_index[component].saturating_sub(1);
                x += 1;
            }
        }
        Ok(())
    }

    /// One row of all components, sample by sample: a run is one of all of them.
    pub(super) fn interleaved_line(&mut self, bits: &mut Bits) -> Result<()> {
        let components = self.current.len();
        (0..components).for_each(|component| self.margins(component));
        let mut x = 1;
        while x <= self.width {
            let neighbours: Vec<_> = (0..components).map(|i| self.neighbours(i, x)).collect();
            let contexts: Vec<_> = neighbours.iter().map(|&n| self.context(n)).collect();
            if contexts.iter().any(|&context| context != 0) {
                for component in 0..components {
                    let (neighbours, context) = (neighbours[component], contexts[component]);
                    self.current[component][x] = self.regular(bits, neighbours, context)?;
                }
                x += 1;
                continue;
            }
            let length = self.run(bits, 0, self.width + 1 - x)?;
            for (component, [a, ..]) in neighbours.iter().enumerate() {
                self.current[component][x..x + length].fill(*a);
            }
            x += length;
            if x <= self.width {
                for (component, &[a, ..]) in neighbours.iter().enumerate() {
                    let b = self.above[component][x];
                    self.current[component][x] = self.interruption(bits, (a, b), false, 0)?;
                }
                self.run_index[0] = self.run_index[0].saturating_sub(1);
                x += 1;
            }
        }
        Ok(())
    }

    /// A sample in regular mode (A.4 to A.6).
    fn regular(&mut self, bits: &mut Bits, [a, b, c, _]: [i32; 4], number: i32) -> Result<i32> {
        let parameters = self.parameters;
        let sign = if number < 0 { -1 } else { 1 };
        let context = &mut self.contexts[number.unsigned_abs() as usize];
        let edge = if c >= a.max(b) {
            a.min(b)
        } else if c <= a.min(b) {
            a.max(b)
        } else {
            a + b - c
        };
        let predicted = (edge + sign * context.c).clamp(0, parameters.maxval);
        let k = golomb_parameter(context.n, context.a)?;
        let mapped = bits.golomb(k, parameters.limit, parameters.qbpp)?;
        let half = parameters.half(mapped)?;
        let error = if parameters.near == 0 && k == 0 && 2 * context.b <= -i64::from(context.n) {
            if mapped & 1 == 1 { half - 1 } else { -half - 1 }
        } else if mapped & 1 == 1 {
            -half
        } else {
            half
        };
        context.update(error, &parameters);
        Ok(parameters.reconstruct(predicted, sign * error))
    }

    /// The length of a run, at most `room` (A.7.1).
    fn run(&mut self, bits: &mut Bits, component: usize, room: usize) -> Result<usize> {
        let index = &mut self.run_index[component];
        let mut length = 0;
        while bits.bits(1)? == 1 {
            let segment = 1_usize << J[*index];
            let step = segment.min(room - length);
            length += step;
            if step == segment {
                *index = (*index + 1).min(31);
            }
            if length == room {
                return Ok(length);
            }
        }
        length += bits.bits(J[*index])? as usize;
        ensure!(length < room, "it has a run beyond the end of the row");
        Ok(length)
    }

    /// The sample that ends a run (A.7.2).
    fn interruption(
        &mut self,
        bits: &mut Bits,
        (a, b): (i32, i32),
        flat: bool,
        component: usize,
    ) -> Result<i32> {
        let parameters = self.parameters;
        let kind = i32::from(flat);
        let context = &mut self.runs[usize::from(flat)];
        let k = golomb_parameter(
            context.n,
            context.a + if flat { i64::from(context.n >> 1) } else { 0 },
        )?;
        let limit = parameters.limit - J[self.run_index[component]] - 1;
        ensure!(limit > parameters.qbpp + 1, "it has a run that is too long for its depth");
        let mapped = bits.golomb(k, limit, parameters.qbpp)?;
        let code = mapped + kind;
        let (odd, half) = (code & 1 == 1, parameters.half(code)?);
        let negative = (k != 0 || 2 * context.negatives >= context.n) == odd;
        let error = if negative { -half } else { half };
        if error < 0 {
            context.negatives += 1;
        }
        context.a += i64::from((mapped + 1 - kind) >> 1);
        if context.n == parameters.reset {
            context.a >>= 1;
            context.n >>= 1;
            context.negatives >>= 1;
        }
        context.n += 1;
        let (predicted, sign) = if flat { (a, 1) } else { (b, if b < a { -1 } else { 1 }) };
        Ok(parameters.reconstruct(predicted, sign * error))
    }
}

/// The smallest k for which n × 2^k reaches a (A.5.1).
fn golomb_parameter(n: i32, a: i64) -> Result<u32> {
    match (0..24).find(|&k| i64::from(n) << k >= a) {
        Some(k) => Ok(k),
        None => bail!("its errors are too large for its depth"),
    }
}

impl Context {
    fn update(&mut self, error: i32, parameters: &Parameters) {
        self.b += i64::from(error * (2 * parameters.near + 1));
        self.a += i64::from(error.abs());
        if self.n == parameters.reset {
            self.a >>= 1;
            self.b = if self.b >= 0 { self.b >> 1 } else { -((1 - self.b) >> 1) };
            self.n >>= 1;
        }
        self.n += 1;
        let n = i64::from(self.n);
        if self.b <= -n {
            self.b = (self.b + n).max(1 - n);
            self.c = (self.c - 1).max(-128);
        } else if self.b > 0 {
            self.b = (self.b - n).min(0);
            self.c = (self.c + 1).min(127);
        }
    }
}
