//! Objects as `torch.save` writes them: dicts within dicts.

use std::path::Path;

/// A value of a saved object.
#[derive(Clone)]
pub(crate) enum Saved {
    /// A tensor of a shape, all of one value: 0, 1, 2 or 3.
    Tensor(Vec<i64>, i64),
    Number(i64),
    Dict(Vec<(String, Saved)>),
}

/// A dict of these.
pub(crate) fn dict<const N: usize>(items: [(&str, Saved); N]) -> Saved {
    Saved::Dict(items.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Writes an object in the legacy form, with one storage that all tensors share.
pub(crate) fn save(path: &Path, object: &Saved) {
    let mut bytes =
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.".to_vec();
    bytes.extend(b"\x80\x02");
    pickle(&mut bytes, object);
    bytes.extend(b".\x80\x02]X\x01\x00\x00\x000a.\x04\0\0\0\0\0\0\0");
    bytes.extend([0.0f32, 1.0, 2.0, 3.0].iter().flat_map(|value| value.to_le_bytes()));
    std::fs::write(path, bytes).unwrap();
}

fn pickle(out: &mut Vec<u8>, object: &Saved) {
    match object {
        Saved::Number(number) => int(out, *number),
        Saved::Dict(items) => {
            out.extend(b"}(");
            for (key, value) in items {
                text(out, key);
                pickle(out, value);
            }
            out.push(b'u');
        }
        Saved::Tensor(shape, value) => {
            out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
            text(out, "storage");
            out.extend(b"ctorch\nFloatStorage\n");
            text(out, "0");
            text(out, "cpu");
            out.extend(b"K\x04NtQ");
            int(out, *value);
            // Strides of 0 repeat one number.
            for sizes in [shape.clone(), vec![0; shape.len()]] {
                out.push(b'(');
                sizes.iter().for_each(|size| int(out, *size));
                out.push(b't');
            }
            out.extend(b"\x89NtR");
        }
    }
}

fn int(out: &mut Vec<u8>, number: i64) {
    out.push(b'J');
    out.extend(i32::try_from(number).unwrap().to_le_bytes());
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    out.extend(text.as_bytes());
}
