//! The primitive types and their limits, byte by byte.

use super::*;

fn decoder(bytes: &[u8]) -> Decoder {
    Decoder::with_default_budget(Bytes::copy_from_slice(bytes))
}

#[test]
fn lengths_have_a_fixed_and_a_compact_form() {
    assert_eq!(decoder(b"\0\x02hi").string(false), Ok("hi".into()));
    assert_eq!(decoder(b"\x03hi").string(true), Ok("hi".into()));
    assert_eq!(decoder(b"\xff\xff").string_option(false, true), Ok(None));
    assert_eq!(decoder(b"\0").string_option(true, true), Ok(None));
    assert_eq!(decoder(b"\0\0\0\x01x").bytes(false), Ok(Bytes::from_static(b"x")));
    assert_eq!(decoder(b"\x02x").bytes(true), Ok(Bytes::from_static(b"x")));
    assert_eq!(decoder(b"\0\0\0\x02\0\x01\0\x02").array(false, 2, Decoder::i16), Ok(vec![1, 2]));
    assert_eq!(decoder(b"\x03\0\x01\0\x02").array(true, 2, Decoder::i16), Ok(vec![1, 2]));
}

#[test]
fn every_negative_length_is_null_and_null_is_an_error_where_it_is_not_allowed() {
    assert_eq!(decoder(b"\x80\0\0\0").bytes_option(false, true), Ok(None));
    assert_eq!(decoder(b"\xff\xff\xff\xff").bytes(false), Err(DecodeError::Null { at: 4 }));
    assert_eq!(decoder(b"\xff\xfe").string_option(false, false), Err(DecodeError::Null { at: 2 }));
    assert_eq!(decoder(b"\0").array(true, 1, Decoder::i8), Err(DecodeError::Null { at: 1 }));
    assert_eq!(decoder(b"\xff").present(true), Ok(false));
    assert_eq!(decoder(b"\xff").present(false), Err(DecodeError::Null { at: 1 }));
}

#[test]
fn bytes_are_slices_of_the_frame() {
    let frame = Bytes::from_static(b"\0\0\0\x02ab");
    let taken = Decoder::with_default_budget(frame.clone()).records(false).unwrap().to_bytes().unwrap();
    assert_eq!(taken.as_ptr(), frame.get(4..).unwrap().as_ptr());
}

#[test]
fn text_that_is_not_utf8_is_replaced_as_in_java() {
    assert_eq!(decoder(b"\x04a\xe4b").string(true), Ok("a\u{fffd}b".into()));
}

#[test]
fn a_string_longer_than_the_protocol_allows_is_refused() {
    let mut bytes = vec![0x81, 0x80, 0x02];
    bytes.resize(40_000, b'x');
    assert_eq!(decoder(&bytes).string(true), Err(DecodeError::StringLength { at: 3, len: 32_768 }));
}

#[test]
fn a_count_is_bounded_by_the_bytes_that_are_left() {
    let claimed = |bytes, size_min| decoder(bytes).array(false, size_min, Decoder::i8).unwrap_err();
    assert_eq!(claimed(b"\0\0\0\x02\0\0\0", 2), DecodeError::Count { at: 4, count: 2, remaining: 3 });
    let most = DecodeError::Count { at: 4, count: 0x7fff_ffff, remaining: 1 };
    assert_eq!(claimed(b"\x7f\xff\xff\xff\0", 1), most);
}

#[test]
fn a_count_is_bounded_by_the_budget_before_anything_is_allocated() {
    let frame = Bytes::from(vec![0x7f; 200]);
    let mut decoder = Decoder::new(frame, 1000);
    let read = decoder.array(true, 1, |_| -> Result<[u8; 8], _> { panic!("nothing may be read") });
    assert_eq!(read, Err(DecodeError::Budget { at: 1, needed: 1008, left: 1000 }));
    assert_eq!(decoder.string(true).map(|text| text.len()), Ok(126));
}

#[test]
fn a_tagged_field_is_skipped_by_its_size_and_may_not_lie_about_it() {
    let mut unknown = decoder(b"\x02\x05\x03abc\x00\x00!");
    assert_eq!(unknown.skip_tags(), Ok(()));
    assert_eq!((unknown.remaining(), unknown.bool()), (1, Ok(true)));
    let mut lying = decoder(b"\x00\x01\0\0");
    let (tag, end) = lying.tag().unwrap();
    lying.i16().unwrap();
    assert_eq!(lying.end_tag(tag, end), Err(DecodeError::Tag { at: 4, tag: 0 }));
    assert!(matches!(decoder(b"\x01\x00\x05abc").skip_tags(), Err(DecodeError::Short(_))));
}
