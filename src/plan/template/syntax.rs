//! The grammar of expressions: Jinja's, as minijinja reads it, without calls, splats and steps of slices.

use super::lex::{Token, tokens};
use crate::plan::limits;

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr<'s> {
    /// a number as it was written
    Number(&'s str),
    /// text literals as they were written; several in a row are one text
    Text(Vec<&'s str>),
    /// `true`, `false` or `none`
    Word(&'static str),
    /// a variable
    Variable(&'s str),
    /// `[a, b]` or `(a, b)`
    List(Vec<Self>),
    /// `{'a': b}`
    Map(Vec<(Self, Self)>),
    /// an expression and what is applied to it, in order
    Chain(Box<Self>, Vec<Link<'s>>),
    /// `-a`
    Negative(Box<Self>),
    /// `not a`
    Not(Box<Self>),
    /// operators of the same rank in a row
    Binary(Box<Self>, Vec<(&'static str, Self)>),
    /// `then if test else otherwise`
    Choice {
        /// the value if the test holds
        then: Box<Self>,
        /// what decides
        test: Box<Self>,
        /// the value otherwise; undefined without one
        otherwise: Option<Box<Self>>,
    },
}

/// What is applied to an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Link<'s> {
    /// `.name` or `.0`
    Member(&'s str),
    /// `[expression]`
    Item(Expr<'s>),
    /// `[from:to]`
    Slice(Option<Expr<'s>>, Option<Expr<'s>>),
    /// `| name(arguments)`
    Filter(Call<'s>),
    /// `is name(arguments)`, `is not name(arguments)`
    Test(bool, Call<'s>),
}

/// The name of a filter or test with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call<'s> {
    pub(super) name: &'s str,
    pub(super) args: Vec<Expr<'s>>,
    pub(super) named: Vec<(&'s str, Expr<'s>)>,
}

/// Operators, those that bind weaker first. `not` stands between the second and the third rank.
const RANKS: [&[&str]; 7] = [
    &["or"],
    &["and"],
    &["==", "!=", "<=", ">=", "<", ">", "in", "not in"],
    &["+", "-"],
    &["~"],
    &["*", "/", "//", "%"],
    &["**"],
];

/// Words that are no variables.
const WORDS: [&str; 7] = ["and", "or", "not", "if", "else", "in", "is"];

/// Parses an expression.
///
/// # Errors
/// What was expected and what was found, as a fragment.
pub(super) fn parse(source: &str) -> Result<Expr<'_>, String> {
    let mut parser = Parser { tokens: tokens(source)?, at: 0, depth: 0 };
    let expression = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(expression),
        Token::Sign(".") => Err("a member behind a filter needs parentheses: `(value | filter).member`".to_owned()),
        token => Err(format!("{token} is not expected here")),
    }
}

struct Parser<'s> {
    tokens: Vec<Token<'s>>,
    at: usize,
    depth: usize,
}

impl<'s> Parser<'s> {
    fn peek(&self) -> Token<'s> {
        self.ahead(0)
    }

    fn ahead(&self, by: usize) -> Token<'s> {
        self.tokens.get(self.at + by).copied().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token<'s> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(text) if text == sign);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Name(text) if text == word);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), String> {
        if self.sign(sign) { Ok(()) } else { Err(format!("`{sign}` is expected, not {}", self.peek())) }
    }

    /// One level deeper, if the bound allows.
    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        self.depth += 1;
        if self.depth > limits::EXPRESSION_DEPTH_MAX {
            return Err(format!("it is nested deeper than {}", limits::EXPRESSION_DEPTH_MAX));
        }
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn expression(&mut self) -> Result<Expr<'s>, String> {
        self.deeper(Self::choice)
    }

    fn choice(&mut self) -> Result<Expr<'s>, String> {
        let then = self.binary(0)?;
        if !self.word("if") {
            return Ok(then);
        }
        let test = Box::new(self.binary(0)?);
        let otherwise = if self.word("else") { Some(Box::new(self.expression()?)) } else { None };
        Ok(Expr::Choice { then: Box::new(then), test, otherwise })
    }

    fn binary(&mut self, rank: usize) -> Result<Expr<'s>, String> {
        let Some(operators) = RANKS.get(rank) else { return self.unary() };
        let operand = |parser: &mut Self| if rank == 1 { parser.not() } else { parser.binary(rank + 1) };
        let first = operand(self)?;
        let mut rest = Vec::new();
        while let Some(operator) = self.operator(operators) {
            rest.push((operator, operand(self)?));
        }
        if rest.len() > 1 && rest.iter().any(|(operator, _)| operator.ends_with("in")) {
            return Err("`in` cannot stand in a row with another comparison".to_owned());
        }
        Ok(if rest.is_empty() { first } else { Expr::Binary(Box::new(first), rest) })
    }

    fn operator(&mut self, operators: &[&'static str]) -> Option<&'static str> {
        let negated = self.peek() == Token::Name("not") && self.ahead(1) == Token::Name("in");
        let operator = *operators.iter().find(|operator| match self.peek() {
            Token::Name(_) if negated => **operator == "not in",
            Token::Name(text) | Token::Sign(text) => **operator == text,
            _ => false,
        })?;
        self.at += 1 + usize::from(negated);
        Some(operator)
    }

    fn not(&mut self) -> Result<Expr<'s>, String> {
        if self.peek() == Token::Name("not") {
            self.at += 1;
            return self.deeper(Self::not).map(|operand| Expr::Not(Box::new(operand)));
        }
        self.binary(2)
    }

    fn unary(&mut self) -> Result<Expr<'s>, String> {
        let base = self.signed()?;
        let mut links = Vec::new();
        loop {
            if self.sign("|") {
                let name = self.name("a filter")?;
                let call = self.call(name, false)?;
                links.push(Link::Filter(call));
            } else if self.word("is") {
                let negated = self.word("not");
                let name = self.name("a test")?;
                let call = self.call(name, true)?;
                links.push(Link::Test(negated, call));
            } else {
                break;
            }
        }
        Ok(chain(base, links))
    }

    /// A minus takes the operand with its members, and filters apply to the negative value.
    fn signed(&mut self) -> Result<Expr<'s>, String> {
        if self.sign("-") {
            return self.deeper(Self::signed).map(|operand| Expr::Negative(Box::new(operand)));
        }
        let base = self.primary()?;
        let links = self.members(&base)?;
        Ok(chain(base, links))
    }

    fn name(&mut self, what: &str) -> Result<&'s str, String> {
        match self.next() {
            Token::Name(name) => Ok(name),
            token => Err(format!("the name of {what} is expected, not {token}")),
        }
    }

    /// The arguments of a filter or test. A test takes one without parentheses too: `n is divisibleby 3`.
    fn call(&mut self, name: &'s str, bare: bool) -> Result<Call<'s>, String> {
        let mut call = Call { name, args: Vec::new(), named: Vec::new() };
        if self.sign("(") {
            while !self.sign(")") {
                self.argument(&mut call)?;
                if !self.sign(",") && self.peek() != Token::Sign(")") {
                    return Err(format!("`)` is expected, not {}", self.peek()));
                }
            }
            return Ok(call);
        }
        let begins = match self.peek() {
            Token::Name(word) => !WORDS.contains(&word),
            Token::Text(_) | Token::Number(_) => true,
            Token::Sign(sign) => matches!(sign, "-" | "[" | "{"),
            Token::End => false,
        };
        if bare && begins {
            call.args.push(self.signed()?);
        }
        Ok(call)
    }

    fn argument(&mut self, call: &mut Call<'s>) -> Result<(), String> {
        if let (Token::Name(name), Token::Sign("=")) = (self.peek(), self.ahead(1)) {
            self.at += 2;
            if call.named.iter().any(|(known, _)| *known == name) {
                return Err(format!("the argument `{name}` stands twice"));
            }
            call.named.push((name, self.expression()?));
        } else if call.named.is_empty() {
            call.args.push(self.expression()?);
        } else {
            return Err("an argument without a name stands behind one with a name".to_owned());
        }
        Ok(())
    }

    fn members(&mut self, base: &Expr<'s>) -> Result<Vec<Link<'s>>, String> {
        let mut links = Vec::new();
        loop {
            if self.sign(".") {
                match self.next() {
                    Token::Name(name) | Token::Number(name) => links.push(Link::Member(name)),
                    token => return Err(format!("the name of a member is expected, not {token}")),
                }
            } else if self.sign("[") {
                links.push(self.item()?);
            } else if self.peek() == Token::Sign("(") {
                return Err(match (links.last(), base) {
                    (Some(Link::Member(name)), _) => format!("there are no methods, and so no `.{name}(…)`"),
                    (None, Expr::Variable(name)) => format!("there are no functions, and so no `{name}(…)`"),
                    _ => "there are no functions, and so nothing to call".to_owned(),
                });
            } else {
                return Ok(links);
            }
        }
    }

    fn item(&mut self) -> Result<Link<'s>, String> {
        let from = if self.peek() == Token::Sign(":") { None } else { Some(self.expression()?) };
        let from = match from {
            Some(item) if self.sign("]") => return Ok(Link::Item(item)),
            from => from,
        };
        self.expect(":")?;
        let to = if matches!(self.peek(), Token::Sign("]" | ":")) { None } else { Some(self.expression()?) };
        if self.peek() == Token::Sign(":") {
            return Err("a slice has no step; `| reverse` turns a list around".to_owned());
        }
        self.expect("]")?;
        Ok(Link::Slice(from, to))
    }

    fn primary(&mut self) -> Result<Expr<'s>, String> {
        Ok(match self.next() {
            Token::Name("true" | "True") => Expr::Word("true"),
            Token::Name("false" | "False") => Expr::Word("false"),
            Token::Name("none" | "None") => Expr::Word("none"),
            Token::Name(name) if !WORDS.contains(&name) => Expr::Variable(name),
            Token::Number(text) => Expr::Number(text),
            Token::Text(text) => {
                let mut texts = vec![text];
                while let Token::Text(more) = self.peek() {
                    self.at += 1;
                    texts.push(more);
                }
                Expr::Text(texts)
            }
            Token::Sign("[") => Expr::List(self.list("]")?.0),
            Token::Sign("{") => self.map()?,
            Token::Sign("(") => match self.list(")")? {
                (mut items, false) if items.len() == 1 => items.remove(0),
                (items, _) => Expr::List(items),
            },
            token => return Err(format!("a value is expected, not {token}")),
        })
    }

    /// The items up to the bracket, and whether a comma was among them.
    fn list(&mut self, close: &str) -> Result<(Vec<Expr<'s>>, bool), String> {
        let (mut items, mut comma) = (Vec::new(), false);
        while !self.sign(close) {
            items.push(self.expression()?);
            if self.sign(",") {
                comma = true;
            } else if self.peek() != Token::Sign(close) {
                return Err(format!("`{close}` is expected, not {}", self.peek()));
            }
        }
        Ok((items, comma))
    }

    fn map(&mut self) -> Result<Expr<'s>, String> {
        let mut members = Vec::new();
        while !self.sign("}") {
            let key = self.expression()?;
            self.expect(":")?;
            members.push((key, self.expression()?));
            if !self.sign(",") && self.peek() != Token::Sign("}") {
                return Err(format!("`}}` is expected, not {}", self.peek()));
            }
        }
        Ok(Expr::Map(members))
    }
}

fn chain<'s>(base: Expr<'s>, links: Vec<Link<'s>>) -> Expr<'s> {
    match base {
        base if links.is_empty() => base,
        Expr::Chain(base, mut first) => {
            first.extend(links);
            Expr::Chain(base, first)
        }
        base => Expr::Chain(Box::new(base), links),
    }
}

impl<'s> Expr<'s> {
    /// The expressions in it.
    pub(super) fn children(&self) -> Vec<&Self> {
        match self {
            Self::Number(_) | Self::Text(_) | Self::Word(_) | Self::Variable(_) => Vec::new(),
            Self::List(items) => items.iter().collect(),
            Self::Map(members) => members.iter().flat_map(|(key, value)| [key, value]).collect(),
            Self::Negative(value) | Self::Not(value) => vec![value],
            Self::Binary(first, rest) => std::iter::once(&**first).chain(rest.iter().map(|(_, value)| value)).collect(),
            Self::Choice { then, test, otherwise } => {
                [then, test].into_iter().chain(otherwise).map(|it| &**it).collect()
            }
            Self::Chain(base, links) => std::iter::once(&**base).chain(links.iter().flat_map(Link::children)).collect(),
        }
    }
}

impl<'s> Link<'s> {
    fn children(&self) -> Vec<&Expr<'s>> {
        match self {
            Self::Member(_) => Vec::new(),
            Self::Item(item) => vec![item],
            Self::Slice(from, to) => from.iter().chain(to).collect(),
            Self::Filter(call) | Self::Test(_, call) => {
                call.args.iter().chain(call.named.iter().map(|(_, value)| value)).collect()
            }
        }
    }
}
