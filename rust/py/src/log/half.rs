//! IEEE half precision to double, exactly.

/// The value of sixteen bits of IEEE 754 binary16 as the equal double; payloads of NaNs keep their bits.
pub fn to_f64(bits: u16) -> f64 {
    let sign = u64::from(bits >> 15) << 63;
    let exponent = u64::from((bits >> 10) & 0x1f);
    let mantissa = u64::from(bits & 0x3ff);
    let magnitude = match (exponent, mantissa) {
        (0, 0) => 0,
        // A subnormal is a whole number of 2^-24: exact in a double.
        (0, m) => (m as f64 * 2f64.powi(-24)).to_bits(),
        (0x1f, m) => (0x7ff << 52) | (m << 42),
        (e, m) => ((e + 1023 - 15) << 52) | (m << 42),
    };
    f64::from_bits(sign | magnitude)
}
