//! A camera held sideways stores frames as they come and notes by how much to turn them; players and
//! OpenCV do so.

use crate::Pixels;

/// Quarter turns, clockwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Turn {
    #[default]
    None,
    Right,
    Half,
    Left,
}

impl Turn {
    /// By the matrix `[[a, b], [c, d]]` of a track: a stored pixel (x, y) is shown at
    /// (a·x + c·y, b·x + d·y). Anything but a quarter turn is ignored, as OpenCV does.
    pub(super) fn from_matrix(matrix: [i32; 4]) -> Self {
        match matrix.map(i32::signum) {
            [0, 1, -1, 0] => Self::Right,
            [-1, 0, 0, -1] => Self::Half,
            [0, -1, 1, 0] => Self::Left,
            _ => Self::None,
        }
    }

    pub(super) fn apply(self, pixels: Pixels) -> Pixels {
        let (height, width, channels) =
            (pixels.height as usize, pixels.width as usize, pixels.channels);
        let (rows, columns) = match self {
            Self::None => return pixels,
            Self::Half => (height, width),
            Self::Right | Self::Left => (width, height),
        };
        let mut data = Vec::with_capacity(pixels.data.len());
        for row in 0..rows {
            for column in 0..columns {
                let (y, x) = match self {
                    Self::None => (row, column),
                    Self::Half => (height - 1 - row, width - 1 - column),
                    Self::Right => (height - 1 - column, row),
                    Self::Left => (column, width - 1 - row),
                };
                let at = (y * width + x) * channels;
                data.extend(&pixels.data[at..at + channels]);
            }
        }
        Pixels { height: rows as u32, width: columns as u32, channels, data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_move_as_the_matrix_says() {
        let pixels = Pixels { height: 2, width: 3, channels: 1, data: vec![1, 2, 3, 4, 5, 6] };
        for (matrix, width, expected) in [
            ([1, 0, 0, 1], 3, [1, 2, 3, 4, 5, 6]),
            ([0, 1, -1, 0], 2, [4, 1, 5, 2, 6, 3]),
            ([-1, 0, 0, -1], 3, [6, 5, 4, 3, 2, 1]),
            ([0, -1, 1, 0], 2, [3, 6, 2, 5, 1, 4]),
            ([-1, 0, 0, 1], 3, [1, 2, 3, 4, 5, 6]),
        ] {
            let turned = Turn::from_matrix(matrix.map(|v| v * 65536)).apply(pixels.clone());
            assert_eq!((turned.width, turned.data), (width, expected.to_vec()), "{matrix:?}");
        }
    }
}
