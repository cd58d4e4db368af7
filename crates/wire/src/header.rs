//! Headers of requests and responses, and whole frames of them.
//!
//! The version of a header follows from the API and the version of the body. Connections read requests with it and
//! write responses; clients the other way round.

use crate::{
    ApiKey, DecodeError, Decoder, EncodeError, Encoder, Message, Request, RequestHeader, ResponseHeader,
};
use stdx::Parts;

/// Room for the header and a small body, so that most responses are one allocation.
const FRAME_BYTES_USUAL: usize = 256;

/// A header that cannot be read. The connection must be closed, as Kafka does: no answer has a form that the client
/// would understand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Its bytes are malformed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The API does not exist, or exists no more.
    #[error("API {key} at version {version} does not exist")]
    UnknownApi {
        /// The number that was asked for.
        key: i16,
        /// The version that was asked for.
        version: i16,
    },
}

/// Reads the header of a request; the decoder stands at the body then. The version is not judged: Kafka answers an
/// ApiVersions of a version that it does not know (`catalogue::unsupported_version`), and closes for all others.
pub fn decode_request(decoder: &mut Decoder) -> Result<(ApiKey, RequestHeader), HeaderError> {
    let start = decoder.position();
    let (key, version) = (decoder.i16()?, decoder.i16()?);
    decoder.rewind(start);
    let api_key = ApiKey::from_i16(key)
        .filter(|api_key| !api_key.versions().is_empty())
        .ok_or(HeaderError::UnknownApi { key, version })?;
    let header = RequestHeader::decode(decoder, api_key.request_header_version(version))?;
    Ok((api_key, header))
}

/// Reads the header of a response to a request of this API and version; the decoder stands at the body then.
pub fn decode_response(
    decoder: &mut Decoder,
    api_key: ApiKey,
    version: i16,
) -> Result<ResponseHeader, DecodeError> {
    ResponseHeader::decode(decoder, api_key.response_header_version(version))
}

/// A whole frame: length, header and body of a response.
pub fn encode_response<M: Message>(
    correlation_id: i32,
    api_key: ApiKey,
    version: i16,
    message: &M,
) -> Result<Parts, EncodeError> {
    let mut encoder = Encoder::with_capacity(FRAME_BYTES_USUAL);
    encoder.begin_frame();
    ResponseHeader { correlation_id }.encode(&mut encoder, api_key.response_header_version(version))?;
    message.encode(&mut encoder, version)?;
    encoder.end_frame()?;
    Ok(encoder.into_parts())
}

/// A whole frame: length, header and body of a request.
pub fn encode_request<R: Request>(
    correlation_id: i32,
    client_id: Option<&str>,
    version: i16,
    request: &R,
) -> Result<Parts, EncodeError> {
    let header = RequestHeader {
        request_api_key: R::KEY.to_i16(),
        request_api_version: version,
        correlation_id,
        client_id: client_id.map(str::to_owned),
    };
    let mut encoder = Encoder::with_capacity(FRAME_BYTES_USUAL);
    encoder.begin_frame();
    header.encode(&mut encoder, R::KEY.request_header_version(version))?;
    request.encode(&mut encoder, version)?;
    encoder.end_frame()?;
    Ok(encoder.into_parts())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ApiVersionsRequest, ApiVersionsResponse, HeartbeatResponse};
    use bytes::Bytes;

    fn decoder(bytes: &'static [u8]) -> Decoder {
        Decoder::with_default_budget(Bytes::from_static(bytes))
    }

    #[test]
    fn a_request_frame_reads_back() {
        let request = ApiVersionsRequest { client_software_name: "a".into(), ..Default::default() };
        let frame = encode_request(7, Some("me"), 3, &request).unwrap().to_bytes().unwrap();
        assert_eq!(crate::frame::needed(&frame, 1000), Ok(Some(frame.len())));
        assert_eq!(&frame[..], b"\0\0\0\x11\0\x12\0\x03\0\0\0\x07\0\x02me\0\x02a\x01\0");
        let mut decoder = Decoder::with_default_budget(frame.slice(4..));
        let (api_key, header) = decode_request(&mut decoder).unwrap();
        assert_eq!(
            (api_key, header.correlation_id, header.client_id.as_deref()),
            (ApiKey::ApiVersions, 7, Some("me"))
        );
        assert_eq!(ApiVersionsRequest::decode(&mut decoder, header.request_api_version), Ok(request));
        assert_eq!(decoder.remaining(), 0);
    }

    #[test]
    fn a_response_has_tagged_fields_in_its_header_only_when_flexible_and_never_for_api_versions() {
        let bytes = |parts: Parts| parts.to_bytes().unwrap();
        let heartbeat = HeartbeatResponse { throttle_time_ms: 1, error_code: 2 };
        assert_eq!(
            &bytes(encode_response(9, ApiKey::Heartbeat, 4, &heartbeat).unwrap())[..],
            b"\0\0\0\x0c\0\0\0\x09\0\0\0\0\x01\0\x02\0"
        );
        assert_eq!(
            &bytes(encode_response(9, ApiKey::Heartbeat, 3, &heartbeat).unwrap())[..],
            b"\0\0\0\x0a\0\0\0\x09\0\0\0\x01\0\x02"
        );
        let versions = ApiVersionsResponse::default();
        assert_eq!(
            &bytes(encode_response(9, ApiKey::ApiVersions, 3, &versions).unwrap())[..],
            b"\0\0\0\x0c\0\0\0\x09\0\0\x01\0\0\0\0\0"
        );
    }

    #[test]
    fn apis_that_do_not_exist_are_refused_and_null_client_ids_are_not() {
        let unknown = |key| Err(HeaderError::UnknownApi { key, version: 0 });
        assert_eq!(decode_request(&mut decoder(b"\0\x04\0\0\0\0\0\x01\xff\xff")), unknown(4));
        assert_eq!(decode_request(&mut decoder(b"\x03\xe7\0\0\0\0\0\x01\xff\xff")), unknown(999));
        let (api_key, header) = decode_request(&mut decoder(b"\0\x0c\0\0\0\0\0\x01\xff\xff")).unwrap();
        assert_eq!((api_key, header.client_id), (ApiKey::Heartbeat, None));
        assert!(matches!(decode_request(&mut decoder(b"\0\x0c\0")), Err(HeaderError::Decode(_))));
    }
}
