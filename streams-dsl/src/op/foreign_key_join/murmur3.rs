//! Murmur3 of 128 bits, for 64-bit machines, as Kafka Streams seeds it: it tells whether a row is still the one that a
//! foreign-key join was asked about.

/// The JVM's default seed.
const SEED: u64 = 104_729;
const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

/// The hash as two numbers.
pub(super) fn hash128(bytes: &[u8]) -> [u64; 2] {
    let (mut h1, mut h2) = (SEED, SEED);
    let mut blocks = bytes.chunks_exact(16);
    for block in &mut blocks {
        let (low, high) = halves(block);
        h1 ^= mix1(low);
        h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= mix2(high);
        h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let (low, high) = halves(blocks.remainder());
    h1 ^= mix1(low);
    h2 ^= mix2(high);
    let length = bytes.len() as u64;
    h1 ^= length;
    h2 ^= length;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    h1 = finish(h1);
    h2 = finish(h2);
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    [h1, h2]
}

/// Up to 16 bytes as two little-endian numbers; what is missing is 0.
fn halves(bytes: &[u8]) -> (u64, u64) {
    let mut whole = [0; 16];
    whole[..bytes.len()].copy_from_slice(bytes);
    let both = u128::from_le_bytes(whole);
    // The two halves of the 128 bits.
    #[allow(clippy::cast_possible_truncation)]
    (both as u64, (both >> 64) as u64)
}

fn mix1(k: u64) -> u64 {
    k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn mix2(k: u64) -> u64 {
    k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

fn finish(mut h: u64) -> u64 {
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 33;
    h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_jvm() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/vectors/murmur3.json")).unwrap();
        let cases = file["cases"].as_array().unwrap();
        assert!(cases.len() > 20);
        for case in cases {
            let text = case["bytes"].as_str().unwrap();
            let bytes: Vec<u8> = (0..text.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
                .collect();
            let expected = ["h1", "h2"].map(|half| case[half].as_i64().unwrap().cast_unsigned());
            assert_eq!(hash128(&bytes), expected, "{text}");
        }
    }
}
