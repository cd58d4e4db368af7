//! Pieces, tagged fields, and what cannot be said.

use super::*;
use std::sync::Arc;
use stdx::Region;

#[test]
fn large_pieces_and_files_are_kept_and_small_ones_copied() {
    let large = Bytes::from(vec![7; RECORDS_COPY_BYTES_MAX]);
    let mut records = Parts::from(Bytes::from_static(b"small"));
    records.push(Part::Memory(large.clone()));
    records.push(Part::File(Region { file: Arc::new(()), position: 0, len: 50 }));
    let mut encoder = Encoder::new();
    encoder.begin_frame();
    encoder.records(&records, false, "records").unwrap();
    encoder.i8(9);
    encoder.end_frame().unwrap();
    assert_eq!(encoder.len(), 4 + 4 + 5 + 1024 + 50 + 1);
    let parts: Vec<Part> = encoder.into_parts().into_iter().collect();
    let [Part::Memory(head), Part::Memory(kept), Part::File(file), Part::Memory(tail)] = &parts[..] else {
        panic!("{parts:?}");
    };
    assert_eq!(&head[..], b"\0\0\x04\x3c\0\0\x04\x37small");
    assert_eq!(kept.as_ptr(), large.as_ptr());
    assert_eq!((file.len, &tail[..]), (50, &[9][..]));
}

#[test]
fn bytes_are_one_string_unless_a_file_is_among_them() {
    let mut encoder = Encoder::new();
    encoder.records(&Bytes::from(vec![1; 2000]).into(), true, "records").unwrap();
    assert_eq!(encoder.into_bytes().unwrap().len(), 2002);
    let mut encoder = Encoder::new();
    let mut file = Parts::new();
    file.push(Part::File(Region { file: Arc::new(()), position: 0, len: 1 }));
    encoder.records(&file, true, "records").unwrap();
    assert_eq!(encoder.into_bytes(), None);
}

#[test]
fn tagged_fields_are_counted_and_sized_also_when_long() {
    let mut encoder = Encoder::new();
    let tags = encoder.tags();
    let tag = encoder.tag(&tags, 3);
    encoder.i16(1);
    encoder.end_tag(tag);
    let tag = encoder.tag(&tags, 300);
    encoder.raw(&[5; 200]);
    encoder.end_tag(tag);
    let bytes = encoder.into_bytes().unwrap();
    assert_eq!(&bytes[..9], b"\x02\x03\x02\0\x01\xac\x02\xc8\x01");
    assert_eq!(&bytes[9..], [5; 200]);
}

#[test]
fn what_cannot_be_said_is_an_error() {
    let mut encoder = Encoder::new();
    let field = "Struct.Field";
    assert_eq!(encoder.string_option(None, true, false, field), Err(EncodeError::Null { field }));
    assert_eq!(encoder.array_option_len(None, false, false, field), Err(EncodeError::Null { field }));
    assert_eq!(encoder.present(false, false, field), Err(EncodeError::Null { field }));
    let long = "x".repeat(32_768);
    assert_eq!(encoder.string(&long, true, field), Err(EncodeError::TooLong { field, len: 32_768 }));
    assert!(encoder.is_empty());
}
