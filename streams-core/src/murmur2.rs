//! Kafka's default partitioner: murmur2 of the key's bytes, so that records with one key meet in one partition, whichever client
//! wrote them (`org.apache.kafka.common.utils.Utils.murmur2`, `BuiltInPartitioner`).

const SEED: u32 = 0x9747_b28c;
const M: u32 = 0x5bd1_e995;
const R: u32 = 24;

/// The 32-bit murmur2 hash of `data`, as the Java client computes it (little-endian words, length mixed into the seed).
pub fn murmur2(data: &[u8]) -> i32 {
    // The length enters modulo 2^32, as Java's int does.
    let mut hash = SEED ^ (data.len() as u32);
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> R;
        k = k.wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^= hash >> 15;
    hash.cast_signed()
}

/// The partition of a record with this key among `partition_count` partitions: the hash with its sign bit cleared, modulo the count.
///
/// A count below 1 gives partition 0: the caller has no partition to choose from and will fail when it sends.
pub fn partition_for_key(key: &[u8], partition_count: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff) % partition_count.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn hashes_and_partitions_are_those_of_the_java_client() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../testdata/murmur2.json")).unwrap();
        let counts: Vec<i32> = serde_json::from_value(vectors["partitionCounts"].clone()).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        assert!(cases.len() >= 100);
        for case in cases {
            let key = unhex(case["key"].as_str().unwrap());
            assert_eq!(i64::from(murmur2(&key)), case["murmur2"].as_i64().unwrap(), "{case}");
            let partitions: Vec<i32> = serde_json::from_value(case["partitions"].clone()).unwrap();
            let ours: Vec<i32> = counts.iter().map(|count| partition_for_key(&key, *count)).collect();
            assert_eq!(ours, partitions, "{case}");
        }
        for case in vectors["textCases"].as_array().unwrap() {
            assert_eq!(
                i64::from(murmur2(case["text"].as_str().unwrap().as_bytes())),
                case["murmur2"].as_i64().unwrap()
            );
        }
    }

    #[test]
    fn a_topic_without_partitions_does_not_divide_by_zero() {
        assert_eq!(partition_for_key(b"key", 0), 0);
        assert_eq!(partition_for_key(b"key", -1), 0);
    }
}
