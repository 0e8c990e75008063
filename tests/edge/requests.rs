//! One request at a time: what each layer answers.

use usherd::http::serve::ServeSettings;

use crate::support::{Server, get_path, get_request};

async fn server() -> Server {
    Server::start(ServeSettings::default()).await
}

#[tokio::test]
async fn an_answer_carries_security_headers_and_a_request_id() {
    let server = server().await;
    let answer = server.ask(&get_path("/hello")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for header in [
        "\r\nx-request-id: ",
        "\r\ncontent-security-policy: default-src 'none';",
        "\r\nstrict-transport-security: max-age=31536000\r\n",
        "\r\ncache-control: no-store\r\n",
        "\r\nx-content-type-options: nosniff\r\n",
    ] {
        assert!(answer.contains(header), "{header} in\n{answer}");
    }
}

#[tokio::test]
async fn a_sane_request_id_comes_back() {
    let request = "GET /hello HTTP/1.1\r\nHost: people.example.com\r\nX-Request-Id: okta-42\r\n\r\n";
    let answer = server().await.ask(request).await;
    assert!(answer.contains("\r\nx-request-id: okta-42\r\n"), "{answer}");
}

#[tokio::test]
async fn a_foreign_host_gets_421_with_all_headers() {
    let server = server().await;
    let answer = server.ask(&get_request("/hello", "evil.example.net")).await;
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    assert!(answer.ends_with("scim Misdirected /hello"), "{answer}");
    assert!(answer.contains("\r\ncontent-security-policy: "), "{answer}");
    let missing = server.ask("GET /hello HTTP/1.0\r\n\r\n").await;
    assert!(missing.starts_with("HTTP/1.0 421 "), "{missing}");
    let absolute = server.ask("GET http://evil.example.net/hello HTTP/1.1\r\nHost: people.example.com\r\n\r\n").await;
    assert!(absolute.starts_with("HTTP/1.1 421 "), "{absolute}");
}

#[tokio::test]
async fn a_loopback_name_with_the_port_is_served_while_listening_on_loopback() {
    let server = server().await;
    let host = format!("localhost:{}", server.address.port());
    let answer = server.ask(&get_request("/hello", &host)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_browser_is_refused_with_a_page() {
    let request = "GET /hello HTTP/1.1\r\nHost: evil.example.net\r\nAccept: text/html,*/*;q=0.8\r\n\r\n";
    let answer = server().await.ask(request).await;
    assert!(answer.ends_with("page Misdirected /hello"), "{answer}");
}

#[tokio::test]
async fn a_header_beyond_sixteen_kibibytes_gets_431() {
    let filler = "a".repeat(17 * 1024);
    let request = format!("GET /hello HTTP/1.1\r\nHost: people.example.com\r\nX-Filler: {filler}\r\n\r\n");
    let answer = server().await.ask(&request).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn a_body_that_does_not_come_gets_408_and_the_connection_ends() {
    let server = server().await;
    let mut client = server.connect().await;
    client.send("POST /scim/slow-body HTTP/1.1\r\nHost: people.example.com\r\nContent-Length: 100\r\n\r\nabc").await;
    let answer = client.answer().await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(answer.ends_with("scim BodyTooSlow /scim/slow-body"), "{answer}");
    client.closed().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_gets_413_whether_declared_or_found_out() {
    let server = server().await;
    let head = "POST /scim/body HTTP/1.1\r\nHost: people.example.com\r\n";
    let declared = server.ask(&format!("{head}Content-Length: 1001\r\n\r\n")).await;
    assert!(declared.starts_with("HTTP/1.1 413 "), "{declared}");
    let chunk = "a".repeat(0x200);
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n200\r\n{chunk}\r\n200\r\n{chunk}\r\n0\r\n\r\n");
    let found_out = server.ask(&chunked).await;
    assert!(found_out.starts_with("HTTP/1.1 413 "), "{found_out}");
    let allowed = server.ask(&format!("{head}Content-Length: 1000\r\n\r\n{}", "a".repeat(1000))).await;
    assert!(allowed.ends_with("1000 bytes"), "{allowed}");
}

#[tokio::test]
async fn a_handler_past_its_deadline_is_answered_for_with_503() {
    let answer = server().await.ask(&get_path("/scim/late")).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nretry-after: 2\r\n"), "{answer}");
}

#[tokio::test]
async fn a_panic_is_one_500_and_the_connection_lives() {
    let server = server().await;
    let mut client = server.connect().await;
    client.send(&get_path("/panic")).await;
    let broken = client.answer().await;
    assert!(broken.starts_with("HTTP/1.1 500 "), "{broken}");
    assert!(!broken.contains("planted"), "{broken}");
    client.send(&get_path("/hello")).await;
    let whole = client.answer().await;
    assert!(whole.ends_with("hello"), "{whole}");
    let metrics = server.metrics.encode();
    assert!(metrics.contains("\nusherd_http_panics_total 1\n"), "{metrics}");
    assert!(metrics.contains(r#"usherd_http_requests_total{route="other",status="500"} 1"#), "{metrics}");
}

#[tokio::test]
async fn a_trusted_proxy_vouches_for_one_address_only() {
    let request = "GET /who HTTP/1.1\r\nHost: people.example.com\r\nX-Forwarded-For: 1.1.1.1, 198.51.100.7\r\n\r\n";
    let answer = server().await.ask(request).await;
    assert!(answer.ends_with("\r\n\r\n198.51.100.7"), "{answer}");
}
