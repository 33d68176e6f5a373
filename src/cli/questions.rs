//! Questions to a person, each of which a flag answers too. A question that a flag has answered is not asked.

use super::connect::ask;
use super::output::{DIM, Failure};
use crate::plan::limits;

/// Whoever answers.
pub(super) enum Questions {
    /// a person at a terminal
    Person,
    /// nobody: a flag, or the default
    Nobody,
    /// what a test has written down, from the last to the first
    #[cfg(test)]
    Script(std::cell::RefCell<Vec<&'static str>>),
}

/// A question.
pub(super) struct Question<'q> {
    /// the flag that answers it
    pub(super) flag: &'q str,
    /// what is asked
    pub(super) asks: &'q str,
    /// one line that explains it
    pub(super) explains: &'q str,
}

impl<'q> Question<'q> {
    /// Asks for what `flag` says.
    pub(super) fn new(flag: &'q str, asks: &'q str, explains: &'q str) -> Self {
        Self { flag, asks, explains }
    }
}

impl Questions {
    /// Of the terminal, if there is one and nobody has said otherwise.
    pub(super) fn here(no_questions: bool) -> Self {
        if ask::is_interactive() && !no_questions { Self::Person } else { Self::Nobody }
    }

    /// Whether somebody is there.
    pub(super) fn is_asked(&self) -> bool {
        !matches!(self, Self::Nobody)
    }

    fn line(&self, prompt: &str) -> Result<String, Failure> {
        match self {
            Self::Person => ask::line(prompt),
            Self::Nobody => Ok(String::new()),
            #[cfg(test)]
            Self::Script(lines) => Ok(lines.borrow_mut().pop().unwrap_or_default().to_owned()),
        }
    }

    /// An answer that must be there.
    ///
    /// # Errors
    /// Nobody has given it, and nobody is there to ask.
    pub(super) fn needed(&self, question: &Question<'_>, given: Option<&String>) -> Result<String, Failure> {
        if let Some(given) = given {
            return Ok(given.clone());
        }
        if !self.is_asked() {
            let message = format!("`{}` is missing, and nobody is there to ask", question.flag);
            return Err(Failure::user(message, Some(question.explains.to_owned())));
        }
        explain(question);
        for _ in 0..limits::QUESTION_ATTEMPTS_MAX {
            let typed = self.line(question.asks)?;
            if !typed.is_empty() {
                return Ok(typed);
            }
        }
        Err(Failure::user(format!("nothing was given for `{}`", question.flag), None))
    }

    /// An answer that may stay empty; `default` is what it is then.
    pub(super) fn maybe(
        &self,
        question: &Question<'_>,
        given: Option<&String>,
        default: Option<&str>,
    ) -> Result<Option<String>, Failure> {
        if given.is_some() || !self.is_asked() {
            return Ok(given.cloned().or_else(|| default.map(str::to_owned)));
        }
        explain(question);
        let note = default.map_or_else(|| " (may stay empty)".to_owned(), |default| format!(" [{default}]"));
        let typed = self.line(&format!("{}{note}", question.asks))?;
        Ok(if typed.is_empty() { default.map(str::to_owned) } else { Some(typed) })
    }

    /// One of several words.
    pub(super) fn choice(
        &self,
        question: &Question<'_>,
        given: Option<&String>,
        words: &[&str],
        default: &str,
    ) -> Result<String, Failure> {
        let is_one = |word: &String| words.contains(&word.as_str());
        if let Some(given) = given {
            if is_one(given) {
                return Ok(given.clone());
            }
            let hint = crate::diagnostic::suggest(given, words.iter().copied());
            let hint = hint.unwrap_or_else(|| format!("one of {}", words.join(", ")));
            return Err(Failure::user(format!("`{given}` is nothing that `{}` takes", question.flag), Some(hint)));
        }
        if !self.is_asked() {
            return Ok(default.to_owned());
        }
        explain(question);
        for _ in 0..limits::QUESTION_ATTEMPTS_MAX {
            let typed = self.line(&format!("{} ({}) [{default}]", question.asks, words.join(" | ")))?;
            if typed.is_empty() {
                return Ok(default.to_owned());
            }
            if is_one(&typed) {
                return Ok(typed);
            }
        }
        Err(Failure::user(format!("nothing that `{}` takes was given", question.flag), None))
    }
}

fn explain(question: &Question<'_>) {
    anstream::eprintln!("{DIM}{}{DIM:#}", question.explains);
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::{Question, Questions};

    const QUESTION: Question<'static> =
        Question { flag: "--auth", asks: "auth", explains: "how a request proves who asks" };

    #[test]
    fn a_flag_answers_before_anybody_is_asked() {
        let script = Questions::Script(RefCell::new(vec!["typed"]));
        let flag = "bearer".to_owned();
        assert_eq!(
            script.choice(&QUESTION, Some(&flag), &["bearer", "basic"], "basic").ok().as_deref(),
            Some("bearer")
        );
        assert_eq!(script.needed(&QUESTION, None).ok().as_deref(), Some("typed"), "and then it was asked");
        let wrong = "baerer".to_owned();
        let failure = script.choice(&QUESTION, Some(&wrong), &["bearer"], "bearer").expect_err("no such word");
        assert!(failure.hint.is_some_and(|hint| hint.contains("bearer")));
    }

    #[test]
    fn what_nobody_answers_is_the_default_or_names_its_flag() {
        let nobody = Questions::Nobody;
        assert_eq!(nobody.choice(&QUESTION, None, &["a", "b"], "b").ok().as_deref(), Some("b"));
        assert_eq!(nobody.maybe(&QUESTION, None, Some("d")).ok().flatten().as_deref(), Some("d"));
        let failure = nobody.needed(&QUESTION, None).expect_err("it is needed");
        assert!(failure.message.contains("`--auth`"), "{failure:?}");
    }

    #[test]
    fn a_word_that_is_none_is_asked_for_again() {
        let script = Questions::Script(RefCell::new(vec!["b", "x", ""]));
        assert_eq!(script.maybe(&QUESTION, None, Some("d")).ok().flatten().as_deref(), Some("d"));
        assert_eq!(script.choice(&QUESTION, None, &["a", "b"], "a").ok().as_deref(), Some("b"));
    }
}
