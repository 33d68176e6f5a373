//! The secrets of a way in that are no credentials, because the provider's YAML holds them itself (`check` warns, but it is done).

use minijinja::Value;
use secrecy::SecretString;

use crate::plan::{
    BodyPlan, ClientPlan, JwtPlan, MadeAuth, RequestPlan, Template, TokenPlan, ValuePlan, is_secret_name,
};

/// What the words of `plan` that are secret by their part or their name make of `variables`. Signatures have theirs themselves
/// (`Signer::secrets`).
pub(super) fn secrets(plan: &MadeAuth, variables: &Value) -> Vec<SecretString> {
    let mut found = Found { variables, secrets: Vec::new() };
    match plan {
        MadeAuth::AuthorizationCode { client, token, .. } | MadeAuth::ClientCredentials { client, token, .. } => {
            let ClientPlan { secret, .. } = client;
            found.template(secret);
            found.token(token);
        }
        MadeAuth::JwtBearer { assertion: JwtPlan { key, .. }, token, .. } => {
            found.template(key);
            found.token(token);
        }
        MadeAuth::Jwt { jwt: JwtPlan { key, .. }, .. } => found.template(key),
        MadeAuth::GithubApp { private_key, .. } => found.template(private_key),
        MadeAuth::TokenRequest { requests, .. } => requests.iter().for_each(|(request, _)| found.request(request)),
        MadeAuth::Oauth1 { .. } | MadeAuth::Sigv4 { .. } => {}
    }
    found.secrets
}

struct Found<'a> {
    variables: &'a Value,
    secrets: Vec<SecretString>,
}

impl Found<'_> {
    fn template(&mut self, template: &Template) {
        // one that fails is told of when it is sent
        self.secrets.extend(template.render(self.variables).ok().flatten().map(SecretString::from));
    }

    fn token(&mut self, TokenPlan { params, headers, .. }: &TokenPlan) {
        self.templates(params);
        self.templates(headers);
    }

    fn templates(&mut self, members: &[(String, Template)]) {
        members.iter().filter(|(name, _)| is_secret_name(name)).for_each(|(_, template)| self.template(template));
    }

    fn request(&mut self, RequestPlan { query, headers, body, .. }: &RequestPlan) {
        self.templates(headers);
        self.members(query);
        match body {
            BodyPlan::Form(members) => self.members(members),
            BodyPlan::Multipart(members) => self.templates(members),
            BodyPlan::Json(value) => self.value(value, false),
            BodyPlan::None | BodyPlan::Graphql { .. } | BodyPlan::Text(_) => {}
        }
    }

    fn members(&mut self, members: &[(String, ValuePlan)]) {
        members.iter().for_each(|(name, value)| self.value(value, is_secret_name(name)));
    }

    fn value(&mut self, value: &ValuePlan, is_secret: bool) {
        match value {
            ValuePlan::Fixed(value) => self.fixed(value, is_secret),
            ValuePlan::Template(template) if is_secret => self.template(template),
            ValuePlan::Template(_) => {}
            ValuePlan::List(items) => items.iter().for_each(|item| self.value(item, is_secret)),
            ValuePlan::Map(members) => self.members(members),
        }
    }

    fn fixed(&mut self, value: &serde_json::Value, is_secret: bool) {
        use serde_json::Value;
        match value {
            Value::String(text) if is_secret => self.secrets.push(text.as_str().into()),
            Value::Array(items) => items.iter().for_each(|item| self.fixed(item, is_secret)),
            Value::Object(members) => {
                members.iter().for_each(|(name, value)| self.fixed(value, is_secret_name(name)));
            }
            Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
    }
}
