//! `parityEven7bit`, `parityOdd7bit` and `parityZero7bit`: the eighth bit as a parity bit.

pub(super) const fn even(byte: u8) -> u8 {
    if zero(byte).count_ones().is_multiple_of(2) { zero(byte) } else { byte | 0x80 }
}

pub(super) const fn odd(byte: u8) -> u8 {
    if zero(byte).count_ones().is_multiple_of(2) { byte | 0x80 } else { zero(byte) }
}

pub(super) const fn zero(byte: u8) -> u8 {
    byte & 0x7f
}
