//! Netlink messages as bytes: what a datagram holds, attributes, acknowledgements.
//!
//! Answers are read attribute by attribute and only as far as they are used here, so that nothing else on a device, of a
//! newer kernel or of somebody else, keeps them from being read.

use netlink_packet_core::{
    DefaultNla, Emitable, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_ERROR, NetlinkBuffer, NlasIterator, parse_string,
    parse_u32, parse_u64,
};

/// Bytes that are not what the protocol says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) String);

/// One message of a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) payload: &'a [u8],
}

/// The messages of a datagram, in order; after one that is damaged, none.
pub(super) fn messages(mut rest: &[u8]) -> impl Iterator<Item = Result<Message<'_>, Malformed>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let datagram = std::mem::take(&mut rest);
        let message = match NetlinkBuffer::new_checked(datagram) {
            Ok(message) => message,
            Err(error) => return Some(Err(Malformed(error.to_string()))),
        };
        // The last message may go without its padding.
        rest = datagram.get((message.length() as usize).next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(Message {
            kind: message.message_type(),
            flags: message.flags(),
            sequence: message.sequence_number(),
            payload: message.payload(),
        }))
    })
}

/// The attributes of a message behind its header, or those nested in another: kinds without flags, and values.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Malformed>> {
    NlasIterator::new(bytes).map(|attribute| {
        let attribute = attribute.map_err(|error| Malformed(error.to_string()))?;
        let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
        Ok((kind, &attribute.into_inner()[4..length]))
    })
}

/// A message's bytes behind a header of `length` bytes.
pub(super) fn behind(payload: &[u8], length: usize) -> Result<&[u8], Malformed> {
    payload.get(length..).ok_or_else(|| Malformed(format!("{} bytes where a header has {length}", payload.len())))
}

/// A number in the machine's order.
pub(super) fn u32_of(bytes: &[u8]) -> Result<u32, Malformed> {
    parse_u32(bytes).map_err(|error| Malformed(error.to_string()))
}

/// A number in the machine's order.
pub(super) fn u64_of(bytes: &[u8]) -> Result<u64, Malformed> {
    parse_u64(bytes).map_err(|error| Malformed(error.to_string()))
}

/// The number at byte `at` of a structure.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    let field = bytes.get(at..).and_then(|rest| rest.get(..4));
    field.ok_or_else(|| Malformed(format!("a structure of {} bytes", bytes.len()))).and_then(u32_of)
}

/// A name, with its final zero or without.
pub(super) fn text_of(bytes: &[u8]) -> Result<String, Malformed> {
    parse_string(bytes).map_err(|error| Malformed(error.to_string()))
}

/// Attributes as bytes.
pub(super) fn emitted(attributes: &[DefaultNla]) -> Vec<u8> {
    let mut bytes = vec![0; attributes.buffer_len()];
    attributes.emit(&mut bytes);
    bytes
}

/// What an acknowledgement says: the error number, 0 when all is well, and the kernel's words about it.
pub(super) fn acknowledgement(message: Message<'_>) -> Result<(i32, Option<String>), Malformed> {
    const HEADER: usize = 16;
    const MESSAGE: u16 = 1;
    assert_eq!(message.kind, NLMSG_ERROR);
    let errno = (u32_at(message.payload, 0)? as i32).checked_neg().unwrap_or(i32::MAX);
    let mut words = None;
    if message.flags & NLM_F_ACK_TLVS != 0 {
        // The request's header follows, the request as well unless that was turned off, then the attributes.
        let request = if message.flags & NLM_F_CAPPED != 0 { HEADER } else { u32_at(message.payload, 4)? as usize };
        let tail = message.payload.get(4..).and_then(|rest| rest.get(request.checked_next_multiple_of(4)?..));
        for attribute in attributes(tail.unwrap_or_default()) {
            let (kind, value) = attribute?;
            if kind == MESSAGE {
                words = Some(printable(value));
            }
        }
    }
    Ok((errno, words))
}

fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned();
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The header of a message and its payload.
    fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (16 + payload.len() as u32).to_ne_bytes().to_vec();
        bytes.extend([kind, flags].map(u16::to_ne_bytes).concat());
        bytes.extend([7_u32, 0].map(u32::to_ne_bytes).concat());
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn an_acknowledgement_carries_the_kernels_words() {
        let words = emitted(&[DefaultNla::new(1, b"Invalid handle\0".to_vec())]);
        let capped = [&(-22_i32).to_ne_bytes()[..], &message(40, 5, &[]), &words].concat();
        let whole = [&(-22_i32).to_ne_bytes()[..], &message(40, 5, &[9; 20]), &words].concat();
        for (flags, payload) in [(NLM_F_ACK_TLVS | NLM_F_CAPPED, capped), (NLM_F_ACK_TLVS, whole)] {
            let bytes = message(NLMSG_ERROR, flags, &payload);
            let read = messages(&bytes).next().unwrap().unwrap();
            assert_eq!(read.sequence, 7);
            assert_eq!(acknowledgement(read), Ok((22, Some("Invalid handle".to_owned()))));
        }
        let bytes = message(NLMSG_ERROR, 0, &[0; 20]);
        assert_eq!(acknowledgement(messages(&bytes).next().unwrap().unwrap()), Ok((0, None)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), flags: u16) {
            for message in messages(&bytes).flatten() {
                attributes(message.payload).for_each(drop);
            }
            attributes(&bytes).for_each(drop);
            let _ = acknowledgement(Message { kind: NLMSG_ERROR, flags, sequence: 0, payload: &bytes });
        }

        #[test]
        fn messages_are_told_apart(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..5)) {
            let mut bytes = Vec::new();
            for payload in &payloads {
                bytes.extend(message(20, 0, payload));
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
            let read: Vec<Vec<u8>> = messages(&bytes).map(|message| message.unwrap().payload.to_vec()).collect();
            prop_assert_eq!(read, payloads);
        }
    }
}
