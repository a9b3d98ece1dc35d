//! An HTTP/1.1 request as a file has it.

use wicketgate_policy::head::RequestHead;

/// A request as its caller sends it.
#[derive(Debug)]
pub struct Message {
    /// The method.
    pub method: String,
    /// The target.
    pub target: String,
    /// Whether it is HTTP/1.0.
    pub http10: bool,
    /// Header fields, in order.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The body: what follows the empty line.
    pub body: Vec<u8>,
}

/// The most header fields that are read.
const MAX_FIELDS: usize = 256;

impl Message {
    /// Reads an HTTP/1.1 message. Lines may end with LF alone, as editors write them. Without `Content-Length` the body
    /// is all that follows the head.
    ///
    /// # Errors
    /// What was wanted and what came, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut parsed = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut parsed);
        let head_len = match request.parse(bytes) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) => {
                return Err(
                    "the head of the request is not complete: an empty line must follow it".to_owned()
                );
            }
            Err(error) => return Err(format!("not an HTTP/1.1 request: {error}")),
        };
        let mut fields = Vec::new();
        let mut content_length = None;
        for field in request.headers.iter() {
            if field.name.eq_ignore_ascii_case("transfer-encoding") {
                return Err("Transfer-Encoding: wanted the body as it is, got an encoded one".to_owned());
            }
            if field.name.eq_ignore_ascii_case("content-length") {
                content_length =
                    std::str::from_utf8(field.value).ok().and_then(|text| text.parse::<usize>().ok());
            }
            fields.push((field.name.to_owned(), field.value.to_vec()));
        }
        let method = request.method.unwrap_or_default().to_owned();
        let target = request.path.unwrap_or_default().to_owned();
        let http10 = request.version == Some(0);
        let message = |body: &[u8]| Self { method, target, http10, fields, body: body.to_vec() };
        let body = bytes.get(head_len..).unwrap_or_default();
        match content_length {
            Some(len) if body.len() < len => Err(format!(
                "Content-Length: wanted the length of the body, got {len}; the file has {} bytes of it",
                body.len()
            )),
            // An editor's last line end is not part of a body that says how long it is.
            Some(len) => Ok(message(body.get(..len).unwrap_or_default())),
            None => Ok(message(body)),
        }
    }

    /// The head as it is, for a filter.
    pub fn head(&self) -> RequestHead {
        let mut head = RequestHead::default();
        head.push(b":method", self.method.as_bytes());
        head.push(b":path", self.target.as_bytes());
        for (name, value) in &self.fields {
            // Gateways know the host by the name that HTTP/2 gave it.
            let name = if name.eq_ignore_ascii_case("host") { ":authority" } else { name };
            head.push(name.as_bytes(), value);
        }
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_with_either_kind_of_line_end() {
        for text in [
            "POST /a?b HTTP/1.1\r\nHost: x\r\nX-A: \u{80}\r\n\r\nbody\n",
            "POST /a?b HTTP/1.1\nHost: x\nX-A: \u{80}\n\nbody\n",
        ] {
            let message = Message::parse(text.as_bytes()).unwrap();
            let head = message.head();
            assert_eq!((head.method(), head.target()), (&b"POST"[..], &b"/a?b"[..]));
            assert_eq!((head.len(), head.host(), message.http10), (1, Ok(Some("x")), false));
            assert_eq!(message.body, b"body\n");
        }
    }

    #[test]
    fn content_length_bounds_the_body() {
        let text = |len| format!("POST / HTTP/1.1\nContent-Length: {len}\n\nbody\n");
        assert_eq!(Message::parse(text(4).as_bytes()).unwrap().body, b"body");
        assert!(Message::parse(text(6).as_bytes()).unwrap_err().contains("Content-Length"));
    }

    #[test]
    fn what_is_not_a_request_is_refused() {
        for text in [
            "",
            "POST / HTTP/1.1",
            "POST /\n\n",
            "HTTP/1.1 200 OK\n\n",
            "POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n0\n\n",
        ] {
            assert!(Message::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
