use super::*;
use crate::remote::client::sample;

fn address(text: &str) -> IpAddr {
    text.parse().expect(text)
}

const PUBLIC: &str = "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 \
    169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255 \
    2606:4700::1111 2a00:1450:4001::1 64:ff9b::8.8.8.8 ::ffff:8.8.8.8 2002:808:808::1 2001:200::1 2001:4860:4860::8888 3ffe::1";

const OTHERS: [(AddressKind, &str); 7] = [
    (AddressKind::Loopback, "127.0.0.1 127.255.255.255 ::1 ::ffff:127.0.0.1 64:ff9b::7f00:1 2002:7f00:1::"),
    (
        AddressKind::Private,
        "10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255 fc00:: fdff::1 fec0::1 feff::1 \
         ::ffff:10.0.0.1 ::10.0.0.1 64:ff9b::192.168.1.1 64:ff9b:1::808:808 2002:a00:1::1 ::ffff:0:10.0.0.1",
    ),
    (AddressKind::LinkLocal, "169.254.169.254 169.254.0.0 fe80::1 febf::1 ::ffff:169.254.169.254"),
    (AddressKind::Shared, "100.64.0.0 100.127.255.255 ::ffff:100.100.100.200"),
    (AddressKind::Multicast, "224.0.0.1 239.255.255.255 ff02::1 ::ffff:224.0.0.1"),
    (AddressKind::Unspecified, "0.0.0.0 0.1.2.3 :: ::ffff:0.0.0.0"),
    (
        AddressKind::Reserved,
        "192.0.0.1 192.0.2.1 198.51.100.1 203.0.113.1 192.88.99.1 198.18.0.1 198.19.255.255 240.0.0.1 255.255.255.255 2001::1 \
         2001:1ff:ffff::1 2001:db8::1 3fff::1 100::1 4000::1 5f00::1 64:ff9b:2::1",
    ),
];

#[test]
fn only_addresses_that_are_given_out_to_be_public_are_public() {
    for text in PUBLIC.split_whitespace() {
        assert_eq!(AddressKind::of(address(text)), None, "{text}");
    }
    for (kind, texts) in OTHERS {
        for text in texts.split_whitespace() {
            assert_eq!(AddressKind::of(address(text)), Some(kind), "{text}");
        }
    }
}

fn network(plan: NetworkPlan, base_url: &str, is_literal: bool) -> Network {
    Network::new(&ConnectionPlan {
        network: plan,
        base_url_is_literal: is_literal,
        trusted_origins: vec!["http://10.1.1.1:81".to_owned()],
        ..sample::connection(base_url)
    })
}

fn verdict(network: &Network, url: &str) -> Result<bool, Refusal> {
    network.must_be_guarded(&Url::parse(url).expect(url))
}

#[test]
fn origins_that_are_written_out_may_be_anywhere() {
    let written = network(NetworkPlan::default(), "http://127.0.0.1:8080/v1", true);
    for url in ["http://127.0.0.1:8080/other", "http://10.1.1.1:81/x"] {
        assert_eq!(verdict(&written, url), Ok(false), "{url}");
    }
    // the origin, and not the host
    for url in ["http://127.0.0.1:8081/v1", "https://127.0.0.1:8080/v1", "http://10.1.1.1/x"] {
        assert!(verdict(&written, url).is_err(), "{url}");
    }
    let from_settings = network(NetworkPlan::default(), "http://127.0.0.1:8080/v1", false);
    assert!(verdict(&from_settings, "http://127.0.0.1:8080/v1").is_err());
    assert_eq!(verdict(&from_settings, "http://10.1.1.1:81/x"), Ok(false), "trusted origins are always written out");
}

#[test]
fn other_hosts_need_tls_and_no_address_that_is_not_public_however_it_is_spelled() {
    let network = network(NetworkPlan::default(), "https://api.example.com", true);
    assert_eq!(verdict(&network, "https://files.example.com/x"), Ok(true));
    assert_eq!(verdict(&network, "https://8.8.8.8/"), Ok(true));
    assert!(matches!(verdict(&network, "http://files.example.com/x"), Err(Refusal::NoTls { .. })));
    let urls = "https://127.0.0.1/ https://2130706433/ https://0x7f.1/ https://127.1/ https://0177.0.0.1/ \
        https://127.0.0.1./ https://[::1]/ https://[::ffff:127.0.0.1]/ https://[::ffff:7f00:1]/ https://localhost/ \
        https://LOCALHOST:8/ https://localhost./ https://x.localhost/ https://0/ https://169.254.169.254/latest/meta-data \
        https://[64:ff9b::a9fe:a9fe]/ https://0xa9fea9fe/ https://%31%32%37.0.0.1/ https://１２７.0.0.1/";
    for url in urls.split_whitespace() {
        assert!(matches!(verdict(&network, url), Err(Refusal::Address { .. })), "{url}");
    }
}

#[test]
fn the_provider_allows_the_one_or_the_other() {
    let http = network(
        NetworkPlan { allow_http: true, allow_private: false, follow_redirects: false },
        "https://api.example.com",
        true,
    );
    assert_eq!(verdict(&http, "http://files.example.com/"), Ok(true));
    assert!(matches!(verdict(&http, "http://10.0.0.1/"), Err(Refusal::Address { .. })));
    let private = network(
        NetworkPlan { allow_http: false, allow_private: true, follow_redirects: false },
        "https://api.example.com",
        true,
    );
    assert_eq!(verdict(&private, "https://10.0.0.1/"), Ok(false));
    assert!(matches!(verdict(&private, "http://10.0.0.1/"), Err(Refusal::NoTls { .. })));
    let both = network(
        NetworkPlan { allow_http: true, allow_private: true, follow_redirects: false },
        "https://api.example.com",
        true,
    );
    assert_eq!(verdict(&both, "http://10.0.0.1/"), Ok(false));
}

#[tokio::test]
async fn what_a_name_resolves_to_is_what_is_checked() {
    let resolved = PublicOnly.resolve("localhost".parse().expect("a name")).await;
    let error = resolved.err().expect("it is this machine");
    assert!(matches!(refusal(&*error), Some(Refusal::Address { kind: AddressKind::Loopback, .. })), "{error}");

    let at = |text: &str| SocketAddr::new(address(text), 0);
    let mixed =
        public_alone("mixed.example", [at("10.0.0.1"), at("8.8.8.8"), at("::1")]).map(Iterator::collect::<Vec<_>>);
    assert_eq!(mixed, Ok(vec![at("8.8.8.8")]), "only the public one is left to connect to");
    let told =
        public_alone("intern.example", [at("::ffff:10.0.0.1")]).map(|_| ()).expect_err("none is left").to_string();
    assert_eq!(
        told,
        "not asked: `intern.example` leads to `::ffff:10.0.0.1`, which is an address of a private network"
    );
}
