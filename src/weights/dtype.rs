//! Number formats of stored tensors, and their names in each kind of file.

use serde::{Serialize, Serializer};
use tch::Kind;

/// Number format of a stored tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dtype {
    Bool,
    U8,
    I8,
    I16,
    I32,
    I64,
    F16,
    Bf16,
    F32,
    F64,
}

/// One row per format: our name, PyTorch's dtype, PyTorch's storage class, the safetensors name.
const NAMES: [(Dtype, &str, &str, &str); 10] = [
    (Dtype::Bool, "bool", "BoolStorage", "BOOL"),
    (Dtype::U8, "uint8", "ByteStorage", "U8"),
    (Dtype::I8, "int8", "CharStorage", "I8"),
    (Dtype::I16, "int16", "ShortStorage", "I16"),
    (Dtype::I32, "int32", "IntStorage", "I32"),
    (Dtype::I64, "int64", "LongStorage", "I64"),
    (Dtype::F16, "float16", "HalfStorage", "F16"),
    (Dtype::Bf16, "bfloat16", "BFloat16Storage", "BF16"),
    (Dtype::F32, "float32", "FloatStorage", "F32"),
    (Dtype::F64, "float64", "DoubleStorage", "F64"),
];

impl Dtype {
    /// Bytes of one element.
    #[must_use]
    pub fn size(self) -> u64 {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::I16 | Self::F16 | Self::Bf16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }

    /// PyTorch's name (`float32`), also ours.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// PyTorch's storage class, without its module.
    pub(super) fn storage_class(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> &'static (Self, &'static str, &'static str, &'static str) {
        // The table lists the variants in their order.
        &NAMES[self as usize]
    }

    /// Looks PyTorch's dtype up; some have a second name.
    #[must_use]
    pub fn from_torch_name(name: &str) -> Option<Self> {
        let name = match name {
            "float" => "float32",
            "double" => "float64",
            "half" => "float16",
            "long" => "int64",
            "int" => "int32",
            "short" => "int16",
            other => other,
        };
        NAMES.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    pub(super) fn from_storage_class(class: &str) -> Option<Self> {
        NAMES.iter().find(|row| row.2 == class).map(|row| row.0)
    }

    pub(super) fn from_safetensors(dtype: safetensors::Dtype) -> Option<Self> {
        let name = format!("{dtype:?}");
        NAMES.iter().find(|row| row.3 == name).map(|row| row.0)
    }

    pub(super) fn to_safetensors(self) -> safetensors::Dtype {
        match self {
            Self::Bool => safetensors::Dtype::BOOL,
            Self::U8 => safetensors::Dtype::U8,
            Self::I8 => safetensors::Dtype::I8,
            Self::I16 => safetensors::Dtype::I16,
            Self::I32 => safetensors::Dtype::I32,
            Self::I64 => safetensors::Dtype::I64,
            Self::F16 => safetensors::Dtype::F16,
            Self::Bf16 => safetensors::Dtype::BF16,
            Self::F32 => safetensors::Dtype::F32,
            Self::F64 => safetensors::Dtype::F64,
        }
    }

    /// The format of a tensor in memory.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Bool => Kind::Bool,
            Self::U8 => Kind::Uint8,
            Self::I8 => Kind::Int8,
            Self::I16 => Kind::Int16,
            Self::I32 => Kind::Int,
            Self::I64 => Kind::Int64,
            Self::F16 => Kind::Half,
            Self::Bf16 => Kind::BFloat16,
            Self::F32 => Kind::Float,
            Self::F64 => Kind::Double,
        }
    }

    /// The stored format of a tensor in memory; `None` for complex, quantised and 8-bit floats.
    #[must_use]
    pub fn from_kind(kind: Kind) -> Option<Self> {
        NAMES.iter().map(|row| row.0).find(|dtype| dtype.kind() == kind)
    }

    /// Whether `copy_` into `to` keeps what the numbers mean: floats into floats, or the same
    /// format. Integers and booleans never turn into weights unnoticed.
    pub(super) fn casts_to(self, to: Self) -> bool {
        self == to || (self.is_float() && to.is_float())
    }

    fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::F32 | Self::F64)
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Dtype {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lists_the_variants_in_their_order() {
        for (index, (dtype, torch, storage, safe)) in NAMES.iter().enumerate() {
            assert_eq!(*dtype as usize, index);
            assert_eq!(Dtype::from_torch_name(torch), Some(*dtype));
            assert_eq!(Dtype::from_storage_class(storage), Some(*dtype));
            assert_eq!(format!("{:?}", dtype.to_safetensors()), *safe);
            assert_eq!(Dtype::from_safetensors(dtype.to_safetensors()), Some(*dtype));
            assert_eq!(Dtype::from_kind(dtype.kind()), Some(*dtype));
            assert_eq!(dtype.kind().elt_size_in_bytes() as u64, dtype.size());
        }
    }
}
