//! Failpoint FP9, only with the feature `failpoints`: a request of which half was sent when the process died.
//!
//! The house's HTTP client sends a request whole, so the half is sent over a connection of its own, to plain endpoints
//! (the simulator) only. When the failpoint lets the process live, that connection is dropped and the request follows as
//! usual: the server has then seen a cut request and a whole one.

use super::client::Ask;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use url::Url;

const NAME: &str = "fp9_half_sent";

pub(super) async fn send_half(url: &Url, ask: &Ask, token: &SecretString) {
    let is_set = fail::list()
        .iter()
        .any(|(name, action)| name == NAME && !action.is_empty());
    if !is_set {
        return;
    }
    let half = half_of(url, ask, token);
    let address = (
        url.host_str().unwrap_or_default(),
        url.port_or_known_default().unwrap_or(80),
    );
    let mut connection = match TcpStream::connect(address).await {
        Ok(connection) if url.scheme() == "http" => Some(connection),
        _ => None,
    };
    if let Some(connection) = &mut connection {
        let sent = connection.write_all(&half).await;
        tracing::warn!(
            sent = sent.is_ok(),
            "Sent half a request to `{}` for `{NAME}`",
            url.authority()
        );
    }
    fail::fail_point!("fp9_half_sent");
}

/// The head, and half of the body that it announces.
fn half_of(url: &Url, ask: &Ask, token: &SecretString) -> Vec<u8> {
    let (method, body) = match ask {
        Ask::Get => ("GET", String::new()),
        Ask::Post(body) => ("POST", body.as_ref().map(ToString::to_string).unwrap_or_default()),
        Ask::PostIn(body) => ("POST", body.to_string()),
        Ask::Put(body) => ("PUT", body.to_string()),
    };
    let head = format!(
        "{method} {} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        url.path(),
        url.authority(),
        token.expose_secret(),
        body.len()
    );
    let mut bytes = head.into_bytes();
    if body.is_empty() {
        // Without a body the head is what is cut.
        bytes.truncate(bytes.len() / 2);
    } else {
        bytes.extend(body.bytes().take(body.len() / 2));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_request_announces_more_than_it_holds() {
        let url = "http://127.0.0.1:1/offer/7/publish".parse().unwrap();
        let token = SecretString::from("t");
        let body = serde_json::json!({"requests": []});
        let half = String::from_utf8(half_of(&url, &Ask::Post(Some(body.clone())), &token)).unwrap();
        let (head, rest) = half.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}", body.to_string().len())),
            "{head}"
        );
        assert!(rest.len() < body.to_string().len());
        assert!(
            !String::from_utf8(half_of(&url, &Ask::Post(None), &token))
                .unwrap()
                .contains("\r\n\r\n")
        );
    }
}
