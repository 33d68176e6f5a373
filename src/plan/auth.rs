//! Ways in: what was written under `auth` of a provider.

use std::collections::BTreeSet;
use std::time::Duration;

use super::place::{Place, Sink};
use super::provider::ProviderWords;
use super::variables::{Variables, template};
use super::{
    Algorithm, AuthPlan, ClientAuth, ClientPlan, JwtPlan, KeyPlace, MadeAuth, Pkce, SendPlan, Signature, Template,
    TokenBody, TokenPlan, request, words,
};
use crate::spec::{
    AlgorithmSpec, ApiKeySpec, AuthSpec, AuthorizationCodeSpec, BasicSpec, BearerSpec, ClientAuthSpec,
    ClientCredentialsSpec, GithubAppSpec, JwtBearerSpec, JwtSpec, LoginSpec, Oauth1Spec, PkceSpec, SignatureSpec,
    Sigv4Spec, TokenBodySpec, TokenPathsSpec, TokenRequestSpec, TokenSpec,
};

/// What the templates of `auth` may name.
pub(super) const AUTH_VARIABLES: [&str; 3] = ["config", "connection", "credentials"];

/// The token endpoint of a way in that has one.
pub(super) fn token_of(spec: &AuthSpec) -> Option<&TokenSpec> {
    match spec {
        AuthSpec::AuthorizationCode(AuthorizationCodeSpec { token, .. })
        | AuthSpec::ClientCredentials(ClientCredentialsSpec { token, .. })
        | AuthSpec::JwtBearer(JwtBearerSpec { token, .. }) => Some(token),
        AuthSpec::None {}
        | AuthSpec::ApiKey(_)
        | AuthSpec::Basic(_)
        | AuthSpec::Bearer(_)
        | AuthSpec::Jwt(_)
        | AuthSpec::GithubApp(_)
        | AuthSpec::TokenRequest(_)
        | AuthSpec::Oauth1(_)
        | AuthSpec::Sigv4(_) => None,
    }
}

/// Compiles one way in, which stands at `place`; `None` where a mistake was found.
pub(super) fn auth_plan(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &AuthSpec,
    provider: &ProviderWords<'_>,
    variables: Variables<'_>,
) -> Option<AuthPlan> {
    let ctx = &mut Context { sink, variables, provider };
    let made = |plan: Option<MadeAuth>| plan.map(|plan| AuthPlan::Made(Box::new(plan)));
    match spec {
        AuthSpec::None {} => Some(AuthPlan::None),
        AuthSpec::ApiKey(spec) => {
            let SendPlan { place, value } = ctx.key(&place.key("api_key"), spec, "{{ credentials.api_key }}")?;
            Some(AuthPlan::ApiKey { place, value })
        }
        AuthSpec::Basic(BasicSpec { username, password }) => {
            let place = place.key("basic");
            let username = ctx.text(&place, "username", username.as_ref(), "{{ credentials.username }}");
            let password = ctx.text(&place, "password", password.as_ref(), "{{ credentials.password }}");
            Some(AuthPlan::Basic { username: username?, password: password? })
        }
        AuthSpec::Bearer(BearerSpec { token }) => {
            let token = ctx.text(&place.key("bearer"), "token", token.as_ref(), "{{ credentials.token }}");
            Some(AuthPlan::Bearer { token: token? })
        }
        AuthSpec::AuthorizationCode(spec) => made(ctx.authorization_code(&place.key("authorization_code"), spec)),
        AuthSpec::ClientCredentials(spec) => made(ctx.client_credentials(&place.key("client_credentials"), spec)),
        AuthSpec::JwtBearer(spec) => made(ctx.jwt_bearer(&place.key("jwt_bearer"), spec)),
        AuthSpec::Jwt(spec) => made(ctx.jwt(&place.key("jwt"), spec)),
        AuthSpec::GithubApp(spec) => made(ctx.github_app(&place.key("github_app"), spec)),
        AuthSpec::TokenRequest(spec) => made(ctx.token_request(&place.key("token_request"), spec)),
        AuthSpec::Oauth1(spec) => made(ctx.oauth1(&place.key("oauth1"), spec)),
        AuthSpec::Sigv4(spec) => made(ctx.sigv4(&place.key("sigv4"), spec)),
    }
}

struct Context<'s, 'v> {
    sink: &'s mut Sink,
    variables: Variables<'v>,
    provider: &'v ProviderWords<'v>,
}

const ACCESS_TOKEN: &str = "{{ credentials.access_token }}";
/// The words whose values are secrets.
const SECRETS: [&str; 9] = [
    "value",
    "password",
    "token",
    "client_secret",
    "key",
    "private_key",
    "consumer_secret",
    "token_secret",
    "secret_access_key",
];
const PRIVATE_KEY: &str = "{{ credentials.private_key }}";

impl Context<'_, '_> {
    /// The template under `key`, or what is meant without it.
    fn text(&mut self, place: &Place<'_>, key: &str, given: Option<&String>, default: &str) -> Option<Template> {
        let place = place.key(key);
        let parsed = template(self.sink, &place, given.map_or(default, String::as_str), self.variables)?;
        if SECRETS.contains(&key) {
            words::literal_secret(self.sink, &place, &parsed);
        }
        Some(parsed)
    }

    fn key(&mut self, place: &Place<'_>, spec: &ApiKeySpec, default: &str) -> Option<SendPlan> {
        let ApiKeySpec { header, query, cookie, value } = spec;
        let value = self.text(place, "value", value.as_ref(), default);
        let named = match (header, query, cookie) {
            (Some(name), None, None) => KeyPlace::Header(words::header_name(self.sink, &place.key("header"), name)?),
            (None, Some(name), None) => KeyPlace::Query(name.clone()),
            (None, None, Some(name)) => KeyPlace::Cookie(name.clone()),
            (None, None, None) => {
                let message = "it is not said where the key goes: `header`, `query` or `cookie`";
                let hint = "name the header that takes it: `header: X-Api-Key`".to_owned();
                self.sink.key_error("E062", place, message, Some(hint));
                return None;
            }
            _ => {
                let message = "the key goes to one place only: `header`, `query` or `cookie`";
                self.sink.key_error("E062", place, message, Some("keep one of them".to_owned()));
                return None;
            }
        };
        Some(SendPlan { place: named, value: value? })
    }

    /// Where a token goes that was made.
    fn send(&mut self, place: &Place<'_>, spec: Option<&ApiKeySpec>) -> Option<SendPlan> {
        if let Some(spec) = spec {
            return self.key(&place.key("send"), spec, ACCESS_TOKEN);
        }
        let value = Template::parse("Bearer {{ credentials.access_token }}").expect("it is a template");
        Some(SendPlan { place: KeyPlace::Header("Authorization".to_owned()), value })
    }

    fn client(
        &mut self,
        place: &Place<'_>,
        (id, secret): (Option<&String>, Option<&String>),
        scopes: &[String],
        separator: Option<&String>,
    ) -> Option<ClientPlan> {
        let id = self.text(place, "client_id", id, "{{ credentials.client_id }}");
        let secret = self.text(place, "client_secret", secret, "{{ credentials.client_secret }}");
        let scope_separator = separator.cloned().unwrap_or_else(|| " ".to_owned());
        Some(ClientPlan { id: id?, secret: secret?, scopes: scopes.to_vec(), scope_separator })
    }

    fn url(&mut self, place: &Place<'_>, text: &str) -> Option<Template> {
        let url = template(self.sink, place, text, self.variables.with(&["config", "connection"]))?;
        let sample = url.sample("x");
        if sample != "x" && !sample.starts_with("https://") && !sample.starts_with("http://") {
            let hint = "write the whole URL: `https://auth.example.com/oauth/token`".to_owned();
            self.sink.error("E040", place, format!("`{}` is not a URL", words::shorten(text)), Some(hint));
            return None;
        }
        Some(url)
    }

    fn token(&mut self, place: &Place<'_>, spec: &TokenSpec) -> Option<TokenPlan> {
        let TokenSpec { url, refresh_url, params, headers, body, client_auth, paths, expires_in: lasts, save } = spec;
        let place = &place.key("token");
        let url = self.url(&place.key("url"), url);
        let refresh_url = match refresh_url {
            None => url.clone(),
            Some(text) => self.url(&place.key("refresh_url"), text),
        };
        let params = words::templates(self.sink, &place.key("params"), params, self.variables);
        let headers = words::headers(self.sink, &place.key("headers"), headers, self.variables);
        let TokenPathsSpec { access_token, refresh_token, expires_in, expires_at } = paths;
        let paths_place = place.key("paths");
        let mut path = |key: &str, given: Option<&String>, default: &str| {
            words::path(self.sink, &paths_place.key(key), given.map_or(default, String::as_str))
        };
        let access_token = path("access_token", access_token.as_ref(), "$.access_token");
        let refresh_token = path("refresh_token", refresh_token.as_ref(), "$.refresh_token");
        let expires_in = path("expires_in", expires_in.as_ref(), "$.expires_in");
        let expires_at = words::optional(expires_at.as_ref(), |text| path("expires_at", Some(text), ""));
        let lasts = words::optional_duration(self.sink, &place.key("expires_in"), lasts.as_ref());
        let save = words::paths(self.sink, &place.key("save"), save);
        Some(TokenPlan {
            url: url?,
            refresh_url: refresh_url?,
            params: params?,
            headers: headers?,
            body: match body {
                TokenBodySpec::Form => TokenBody::Form,
                TokenBodySpec::Json => TokenBody::Json,
                TokenBodySpec::Query => TokenBody::Query,
            },
            client_auth: match client_auth {
                ClientAuthSpec::Body => ClientAuth::Body,
                ClientAuthSpec::Basic => ClientAuth::Basic,
                ClientAuthSpec::PrivateKeyJwt => ClientAuth::PrivateKeyJwt,
                ClientAuthSpec::None => ClientAuth::None,
            },
            access_token: access_token?,
            refresh_token: refresh_token?,
            expires_in: expires_in?,
            expires_at: expires_at?,
            lasts: lasts?,
            save: save?,
        })
    }

    fn authorization_code(&mut self, place: &Place<'_>, spec: &AuthorizationCodeSpec) -> Option<MadeAuth> {
        let AuthorizationCodeSpec {
            authorize_url,
            authorize_params,
            scopes,
            scope_separator,
            device_url,
            pkce,
            client_id,
            client_secret,
            token,
            send,
        } = spec;
        let url = self.url(&place.key("authorize_url"), authorize_url);
        let device_url = words::optional(device_url.as_ref(), |text| self.url(&place.key("device_url"), text));
        let open = self.variables.with(&["config", "connection"]);
        let params = words::templates(self.sink, &place.key("authorize_params"), authorize_params, open);
        let client = self.client(place, (client_id.as_ref(), client_secret.as_ref()), scopes, scope_separator.as_ref());
        let (token, send) = (self.token(place, token), self.send(place, send.as_ref()));
        Some(MadeAuth::AuthorizationCode {
            authorize_url: url?,
            authorize_params: params?,
            device_url: device_url?,
            pkce: match pkce {
                PkceSpec::S256 => Pkce::S256,
                PkceSpec::Plain => Pkce::Plain,
                PkceSpec::None => Pkce::None,
            },
            client: client?,
            token: token?,
            send: send?,
        })
    }

    fn client_credentials(&mut self, place: &Place<'_>, spec: &ClientCredentialsSpec) -> Option<MadeAuth> {
        let ClientCredentialsSpec { scopes, scope_separator, client_id, client_secret, token, send } = spec;
        let client = self.client(place, (client_id.as_ref(), client_secret.as_ref()), scopes, scope_separator.as_ref());
        let (token, send) = (self.token(place, token), self.send(place, send.as_ref()));
        Some(MadeAuth::ClientCredentials { client: client?, token: token?, send: send? })
    }

    /// A token that is signed here, out of the words that both kinds of it have.
    fn signed(
        &mut self,
        place: &Place<'_>,
        algorithm: AlgorithmSpec,
        key: Option<&String>,
        header: &indexmap::IndexMap<String, String>,
        claims: &indexmap::IndexMap<String, serde_json::Value>,
        lifetime: Option<&String>,
    ) -> Option<JwtPlan> {
        let key = self.text(place, "key", key, PRIVATE_KEY);
        let header = words::templates(self.sink, &place.key("header"), header, self.variables);
        let claims = request::values(self.sink, &place.key("claims"), claims, self.variables);
        let lifetime = match lifetime {
            None => Some(Duration::from_secs(300)),
            Some(text) => words::some_duration(self.sink, &place.key("lifetime"), text),
        };
        let algorithm = algorithm_plan(algorithm);
        Some(JwtPlan { algorithm, key: key?, header: header?, claims: claims?, lifetime: lifetime? })
    }

    fn jwt_bearer(&mut self, place: &Place<'_>, spec: &JwtBearerSpec) -> Option<MadeAuth> {
        let JwtBearerSpec { algorithm, key, header, claims, lifetime, token, send } = spec;
        let assertion = self.signed(place, *algorithm, key.as_ref(), header, claims, lifetime.as_ref());
        let (token, send) = (self.token(place, token), self.send(place, send.as_ref()));
        Some(MadeAuth::JwtBearer { assertion: assertion?, token: token?, send: send? })
    }

    fn jwt(&mut self, place: &Place<'_>, spec: &JwtSpec) -> Option<MadeAuth> {
        let JwtSpec { algorithm, key, header, claims, lifetime, send } = spec;
        let jwt = self.signed(place, *algorithm, key.as_ref(), header, claims, lifetime.as_ref());
        let send = self.send(place, send.as_ref());
        Some(MadeAuth::Jwt { jwt: jwt?, send: send? })
    }

    fn github_app(&mut self, place: &Place<'_>, spec: &GithubAppSpec) -> Option<MadeAuth> {
        let GithubAppSpec { app_id, installation_id, private_key } = spec;
        let app_id = self.text(place, "app_id", app_id.as_ref(), "{{ credentials.app_id }}");
        let installation_id =
            self.text(place, "installation_id", installation_id.as_ref(), "{{ credentials.installation_id }}");
        let private_key = self.text(place, "private_key", private_key.as_ref(), PRIVATE_KEY);
        let send = self.send(place, None);
        Some(MadeAuth::GithubApp {
            app_id: app_id?,
            installation_id: installation_id?,
            private_key: private_key?,
            send: send?,
        })
    }

    fn token_request(&mut self, place: &Place<'_>, spec: &TokenRequestSpec) -> Option<MadeAuth> {
        let TokenRequestSpec { requests, expires_in, send } = spec;
        let mut plans = Vec::with_capacity(requests.len());
        for (index, LoginSpec { request: spec, save }) in requests.iter().enumerate() {
            let place = place.key("requests").index(index);
            let plan = request::request(self.sink, &place.key("request"), spec, self.provider, self.variables);
            let save = words::paths(self.sink, &place.key("save"), save);
            plans.extend(plan.zip(save));
        }
        let saves = |name: &str| requests.iter().any(|login| login.save.contains_key(name));
        if send.is_none() && !saves("access_token") {
            let hint = "save it: `save: { access_token: $.token }`, or say with `send` what is sent instead".to_owned();
            let message = "no request saves an `access_token`, and `send` names nothing else";
            self.sink.key_error("E101", &place.key("requests"), message, Some(hint));
        }
        let expires_in = words::optional_duration(self.sink, &place.key("expires_in"), expires_in.as_ref());
        let send = self.send(place, send.as_ref());
        let plan = MadeAuth::TokenRequest { requests: plans, expires_in: expires_in?, send: send? };
        match &plan {
            MadeAuth::TokenRequest { requests: plans, .. } if plans.len() < requests.len() => None,
            _ => Some(plan),
        }
    }

    fn oauth1(&mut self, place: &Place<'_>, spec: &Oauth1Spec) -> Option<MadeAuth> {
        let Oauth1Spec { consumer_key, consumer_secret, token, token_secret, signature, realm } = spec;
        let consumer_key = self.text(place, "consumer_key", consumer_key.as_ref(), "{{ credentials.consumer_key }}");
        let consumer_secret =
            self.text(place, "consumer_secret", consumer_secret.as_ref(), "{{ credentials.consumer_secret }}");
        let token = self.text(place, "token", token.as_ref(), "{{ credentials.token }}");
        let token_secret = self.text(place, "token_secret", token_secret.as_ref(), "{{ credentials.token_secret }}");
        let realm = words::optional_template(self.sink, &place.key("realm"), realm.as_ref(), self.variables);
        Some(MadeAuth::Oauth1 {
            consumer_key: consumer_key?,
            consumer_secret: consumer_secret?,
            token: token?,
            token_secret: token_secret?,
            signature: match signature {
                SignatureSpec::HmacSha256 => Signature::HmacSha256,
                SignatureSpec::HmacSha1 => Signature::HmacSha1,
                SignatureSpec::Plaintext => Signature::Plaintext,
            },
            realm: realm?,
        })
    }

    fn sigv4(&mut self, place: &Place<'_>, spec: &Sigv4Spec) -> Option<MadeAuth> {
        let Sigv4Spec { access_key_id, secret_access_key, session_token, region, service } = spec;
        let access_key_id =
            self.text(place, "access_key_id", access_key_id.as_ref(), "{{ credentials.access_key_id }}");
        let secret_access_key =
            self.text(place, "secret_access_key", secret_access_key.as_ref(), "{{ credentials.secret_access_key }}");
        let session_token =
            words::optional_template(self.sink, &place.key("session_token"), session_token.as_ref(), self.variables);
        let region = self.text(place, "region", Some(region), "");
        Some(MadeAuth::Sigv4 {
            access_key_id: access_key_id?,
            secret_access_key: secret_access_key?,
            session_token: session_token?,
            region: region?,
            service: service.clone(),
        })
    }
}

pub(super) fn algorithm_plan(spec: AlgorithmSpec) -> Algorithm {
    match spec {
        AlgorithmSpec::RS256 => Algorithm::Rs256,
        AlgorithmSpec::ES256 => Algorithm::Es256,
        AlgorithmSpec::HS256 => Algorithm::Hs256,
    }
}

/// The credentials that a connection must give for this way in.
pub(super) fn credentials(plan: &AuthPlan) -> BTreeSet<String> {
    let mut templates: Vec<&Template> = Vec::new();
    let mut made = BTreeSet::new();
    match plan {
        AuthPlan::None => {}
        AuthPlan::ApiKey { place: _, value } => templates.push(value),
        AuthPlan::Basic { username, password } => templates.extend([username, password]),
        AuthPlan::Bearer { token } => templates.push(token),
        AuthPlan::Made(plan) => made_credentials(plan, &mut templates, &mut made),
    }
    let named =
        templates.into_iter().flat_map(Template::variables).filter_map(|name| name.strip_prefix("credentials."));
    let signing = signs_for_itself(plan).then_some("private_key");
    named.chain(signing).map(str::to_owned).filter(|name| !made.contains(name)).collect()
}

/// The settings that the API tells with a token.
pub(super) fn told(plan: &AuthPlan) -> impl Iterator<Item = &str> {
    let token = plan.made().and_then(MadeAuth::token);
    token.into_iter().flat_map(|token| token.save.iter().map(|(name, _)| name.as_str()))
}

/// The scopes that a person is asked for, whatever is synced.
pub(super) fn scopes(plan: &AuthPlan) -> &[String] {
    match plan.made() {
        Some(MadeAuth::AuthorizationCode { client, .. }) => &client.scopes,
        Some(_) | None => &[],
    }
}

/// Whether the application proves who it is by a signature (RFC 7523 section 2.2), and has no secret.
fn signs_for_itself(plan: &AuthPlan) -> bool {
    matches!(
        plan.made(),
        Some(MadeAuth::AuthorizationCode { token, .. } | MadeAuth::ClientCredentials { token, .. })
            if token.client_auth == ClientAuth::PrivateKeyJwt
    )
}

/// The credentials that a way in makes itself: no connection gives them.
pub(super) fn made(plan: &AuthPlan) -> BTreeSet<String> {
    let mut made = BTreeSet::new();
    if let Some(plan) = plan.made() {
        made_credentials(plan, &mut Vec::new(), &mut made);
    }
    made
}

/// The templates of a way in, and the credentials that it makes itself.
fn made_credentials<'p>(plan: &'p MadeAuth, templates: &mut Vec<&'p Template>, made: &mut BTreeSet<String>) {
    made.insert("access_token".to_owned());
    let token = |plan: &'p TokenPlan, templates: &mut Vec<&'p Template>| {
        templates.extend([&plan.url, &plan.refresh_url]);
        templates.extend(plan.params.iter().chain(&plan.headers).map(|(_, template)| template));
    };
    let jwt = |plan: &'p JwtPlan, templates: &mut Vec<&'p Template>| {
        templates.push(&plan.key);
        templates.extend(plan.header.iter().map(|(_, template)| template));
        plan.claims.iter().for_each(|(_, value)| request::templates(value, templates));
    };
    match plan {
        MadeAuth::AuthorizationCode { client, token: endpoint, send, .. }
        | MadeAuth::ClientCredentials { client, token: endpoint, send } => {
            templates.extend([&client.id, &send.value]);
            match endpoint.client_auth {
                ClientAuth::Body | ClientAuth::Basic => templates.push(&client.secret),
                ClientAuth::PrivateKeyJwt | ClientAuth::None => {}
            }
            token(endpoint, templates);
        }
        MadeAuth::JwtBearer { assertion, token: endpoint, send } => {
            jwt(assertion, templates);
            token(endpoint, templates);
            templates.push(&send.value);
        }
        MadeAuth::Jwt { jwt: plan, send } => {
            jwt(plan, templates);
            templates.push(&send.value);
        }
        MadeAuth::GithubApp { app_id, installation_id, private_key, send } => {
            templates.extend([app_id, installation_id, private_key, &send.value]);
        }
        MadeAuth::TokenRequest { requests, expires_in: _, send } => {
            for (request, save) in requests {
                templates.extend(request::request_templates(request));
                made.extend(save.iter().map(|(name, _)| name.clone()));
            }
            templates.push(&send.value);
        }
        MadeAuth::Oauth1 { consumer_key, consumer_secret, token, token_secret, signature: _, realm } => {
            templates.extend([consumer_key, consumer_secret, token, token_secret]);
            templates.extend(realm);
        }
        MadeAuth::Sigv4 { access_key_id, secret_access_key, session_token, region, service: _ } => {
            templates.extend([access_key_id, secret_access_key, region]);
            templates.extend(session_token);
        }
    }
}
