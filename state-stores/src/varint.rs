//! Kafka's integers of variable length (`ByteUtils.writeVarint`): zig-zag, seven bits a byte, the lowest first. Headers in
//! stores and changes of grouped tables have them.

/// Appends `value`.
pub fn write(value: i32, out: &mut Vec<u8>) {
    let mut rest = (value << 1).cast_unsigned() ^ (value >> 31).cast_unsigned();
    while rest > 0x7f {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Bytes that [`write()`] appends for `value`.
pub fn len(value: i32) -> usize {
    let zigzag = (value << 1).cast_unsigned() ^ (value >> 31).cast_unsigned();
    (zigzag.max(1).ilog2() / 7 + 1) as usize
}

/// Reads a value from the beginning of `bytes` and answers what is after it; `None`: there is none of at most five bytes.
pub fn read(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let mut zigzag: u32 = 0;
    for (index, &byte) in bytes.iter().take(5).enumerate() {
        zigzag |= u32::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let value = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_kafka_and_come_back() {
        let known: [(i32, &[u8]); 6] = [
            (0, &[0]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7e]),
            (64, &[0x80, 0x01]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ];
        for (value, expected) in known {
            let mut bytes = Vec::new();
            write(value, &mut bytes);
            assert_eq!(bytes, expected);
            assert_eq!(len(value), expected.len(), "{value}");
            assert_eq!(read(&[expected, b"rest"].concat()), Some((value, b"rest".as_slice())));
        }
        for value in [i32::MAX, 8_191, 8_192, -8_192, -8_193, 1_048_576, 134_217_728] {
            let mut bytes = Vec::new();
            write(value, &mut bytes);
            assert_eq!((len(value), read(&bytes)), (bytes.len(), Some((value, [].as_slice()))));
        }
        assert_eq!(read(&[0x80]), None);
        assert_eq!(read(&[0xff; 6]), None);
    }
}
