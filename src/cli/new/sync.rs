use std::path::{Path, PathBuf};

use super::{SampleFile, Writing, files};
use crate::cli::output::Failure;
use crate::cli::questions::{Question, Questions};
use crate::cli::{Done, given};
use crate::draft::{
    DELETES, DeletesDraft, DraftFile, Ends, PAGINATIONS, Paging, Proposal, SampleError, TokenFrom, Wishes, Wrong,
    files_of_sync, paging_of, propose, surroundings,
};
use crate::spec::ProviderSpec;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The provider and the sync's name: `acme/contacts`.
    #[arg(value_name = "PROVIDER/NAME")]
    name: String,
    #[command(flatten)]
    words: Words,
    #[command(flatten)]
    sample: SampleFile,
    #[command(flatten)]
    writing: Writing,
}

/// What is said of a sync.
#[derive(Debug, Default, Clone, clap::Args)]
pub(in crate::cli) struct Words {
    /// The path of the list under the base URL; what changes stands in braces: `/lists/{list}/contacts`.
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) get: Option<String>,
    /// A query parameter of every request; may be given several times.
    #[arg(long = "query", value_name = "NAME=VALUE")]
    pub(in crate::cli) query: Vec<String>,
    /// The page of the API's documentation about this list.
    #[arg(long, value_name = "URL")]
    docs: Option<String>,
    /// Where the records stand in the answer: `$.results[*]`.
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) records: Option<String>,
    /// How the next page is asked for: none, link, next_url, cursor, page, offset, or as the `provider` says.
    #[arg(long, value_name = "KIND")]
    pagination: Option<String>,
    /// Where the token (cursor) or the URL (next_url) of the next page stands in the answer; `record:$.id` is the last record's.
    #[arg(long, value_name = "PATH")]
    next_from: Option<String>,
    /// The query parameter that asks for the next page.
    #[arg(long, value_name = "NAME")]
    next_param: Option<String>,
    /// A path that is false on the last page.
    #[arg(long, value_name = "PATH")]
    has_more: Option<String>,
    /// A path to the number of all records.
    #[arg(long, value_name = "PATH")]
    total: Option<String>,
    /// A path to the number of pages.
    #[arg(long, value_name = "PATH")]
    total_pages: Option<String>,
    /// Records of a page.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(in crate::cli) page_size: Option<u64>,
    /// The query parameter that takes it.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) size_param: Option<String>,
    /// The member with the time of the last change; `none` reads everything in every run.
    #[arg(long, value_name = "MEMBER")]
    incremental: Option<String>,
    /// The query parameter that asks for what changed since.
    #[arg(long, value_name = "NAME")]
    since: Option<String>,
    /// What tells that a record is gone: none, absence, flag, feed or sweep.
    #[arg(long, value_name = "KIND")]
    deletes: Option<String>,
    /// The member that says it (flag): `archived`, `deleted_at`, `status=gone`.
    #[arg(long, value_name = "MEMBER")]
    deleted: Option<String>,
    /// The path of the list of deleted records (feed) or of all ids (sweep).
    #[arg(long, value_name = "PATH")]
    deletes_get: Option<String>,
    /// Where its entries stand in the answer.
    #[arg(long, value_name = "PATH")]
    deletes_records: Option<String>,
    /// A column that tells records apart; may be given several times.
    #[arg(long = "key", value_name = "COLUMN")]
    key: Vec<String>,
    /// A column: its name, perhaps its type, perhaps its path; may be given several times.
    #[arg(long = "column", value_name = "NAME[:TYPE[:PATH]]")]
    columns: Vec<String>,
    /// A column of the answer that is left out; may be given several times.
    #[arg(long = "without-column", value_name = "NAME")]
    without_columns: Vec<String>,
    /// The model's name.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
}

impl From<Wrong> for Failure {
    fn from(wrong: Wrong) -> Self {
        Self::user(wrong.message, Some(wrong.hint))
    }
}

impl From<SampleError> for Failure {
    fn from(error: SampleError) -> Self {
        Self::user(error.to_string(), Some(error.hint().to_owned()))
    }
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let Arguments { name, words, sample, writing } = arguments;
    let (provider, name) = super::named(name, "contacts")?;
    let spec = files::provider(folder, provider)?;
    let questions = writing.questions();
    let proposal = match file(&questions, sample)? {
        Some(file) => Some(propose(given::bytes(&file)?.as_slice(), words.records.as_deref(), false)?),
        None => None,
    };
    let wishes = words.asked(name, &questions, proposal.as_ref(), &spec)?;
    write(folder, &wishes, proposal.as_ref(), &spec, writing)?;
    Ok(0)
}

/// Writes the files of a sync, and says what comes next.
pub(in crate::cli) fn write(
    folder: &Path,
    wishes: &Wishes,
    proposal: Option<&Proposal>,
    spec: &ProviderSpec,
    writing: &Writing,
) -> Result<(), Failure> {
    let (provider, name) = (&spec.provider, &wishes.name);
    let drafted = drafted(wishes, proposal, spec)?;
    let has_test = drafted.iter().any(|file| file.path.contains("/tests/"));
    let mut next = Vec::new();
    if has_test {
        next.push(format!("headwater test {provider}/{name}        run its test, without a network"));
    } else {
        next.push("write a test: nothing could be made up for these paths (docs/language.md#tests)".to_owned());
    }
    next.push("look at each `guess` and `look` in the files, beside the API's documentation".to_owned());
    next.push(format!("headwater dry-run {provider}/{name}     real requests, rows shown, nothing written"));
    files::write(folder, &drafted, writing, &next)
}

/// The files of a sync.
pub(in crate::cli) fn drafted(
    wishes: &Wishes,
    proposal: Option<&Proposal>,
    spec: &ProviderSpec,
) -> Result<Vec<DraftFile>, Failure> {
    let of_provider = spec.pagination.as_ref().map(|pagination| (pagination, paging_of(pagination)));
    // one that drafts do not know is the provider's all the same; only nobody can make up a test for it
    let known = of_provider.as_ref().map(|(_, known)| known.clone().unwrap_or(Paging::None));
    let (sync, model) = wishes.draft(proposal, known.as_ref())?;
    let is_known = !matches!((&sync.paging.value, &of_provider), (Paging::OfProvider(_), Some((_, None))));
    let mut drafted = files_of_sync(&sync, &model, &surroundings(spec));
    drafted.retain(|file| is_known || !file.path.contains("/tests/"));
    Ok(drafted)
}

/// The file with the sample, if there is one.
fn file(questions: &Questions, sample: &SampleFile) -> Result<Option<PathBuf>, Failure> {
    let question = Question::new(
        "--sample",
        "file with one answer of the API",
        "columns, types, records and pages are taken from it, as from `curl … > answer.json`; without one you name the columns",
    );
    let given = sample.sample.as_ref().map(|path| path.display().to_string());
    Ok(questions.maybe(&question, given.as_ref(), None)?.map(PathBuf::from))
}

impl Words {
    /// What is said, and what a person answers to the rest.
    pub(in crate::cli) fn asked(
        &self,
        name: &str,
        questions: &Questions,
        proposal: Option<&Proposal>,
        spec: &ProviderSpec,
    ) -> Result<Wishes, Failure> {
        let get = Question::new(
            "--get",
            "path of the list",
            "under the base URL; what changes stands in braces: /lists/{list}/contacts",
        );
        let get = questions.needed(&get, self.get.as_ref())?;
        let docs = Question::new("--docs", "documentation of this list", "the page that describes it");
        let docs = questions.maybe(&docs, self.docs.as_ref(), None)?;
        let mut wishes = Wishes {
            name: name.to_owned(),
            get,
            docs,
            query: self.pairs()?,
            records: self.records.clone(),
            next_from: self.next_from.clone(),
            next_param: self.next_param.clone(),
            ends: Ends {
                has_more: self.has_more.clone(),
                total: self.total.clone(),
                total_pages: self.total_pages.clone(),
            },
            page_size: self.page_size,
            size_param: self.size_param.clone(),
            deletes_get: self.deletes_get.clone(),
            deletes_records: self.deletes_records.clone(),
            key: self.key.clone(),
            columns: self.columns.clone(),
            without_columns: self.without_columns.clone(),
            model: self.model.clone(),
            ..Wishes::default()
        };
        if proposal.is_none() && questions.is_asked() {
            self.ask_columns(&mut wishes, questions)?;
        }
        self.ask_pages(&mut wishes, questions, proposal, spec)?;
        self.ask_changes(&mut wishes, questions, proposal)?;
        Ok(wishes)
    }

    /// The parameters of every request.
    pub(in crate::cli) fn pairs(&self) -> Result<Vec<(String, String)>, Failure> {
        let pair = |text: &String| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(Failure::user(format!("`{text}` is no `NAME=VALUE`"), None)),
        };
        self.query.iter().map(pair).collect()
    }

    fn ask_columns(&self, wishes: &mut Wishes, questions: &Questions) -> Result<(), Failure> {
        let records = Question::new(
            "--records",
            "where the records stand in the answer",
            "a path to each record, not to the list: `$.results[*]`; `$[*]` where the answer is the list itself",
        );
        wishes.records = questions.maybe(&records, self.records.as_ref(), Some("$.data[*]"))?;
        if self.columns.is_empty() {
            let columns = Question::new(
                "--column",
                "columns",
                "names with types, and commas between them: id:bigint, name, total:decimal(18;2), updated_at:timestamptz",
            );
            let typed = questions.maybe(&columns, None, Some("id, name, updated_at:timestamptz"))?.unwrap_or_default();
            wishes.columns = typed.split(',').map(|column| column.trim().replace(';', ",")).collect();
        }
        Ok(())
    }

    fn ask_pages(
        &self,
        wishes: &mut Wishes,
        questions: &Questions,
        proposal: Option<&Proposal>,
        spec: &ProviderSpec,
    ) -> Result<(), Failure> {
        let seen = proposal.map(|proposal| &proposal.paging.value);
        let default = match (spec.pagination.is_some(), seen) {
            (true, _) => "provider",
            (false, Some(seen)) => word_of(seen),
            (false, None) => "none",
        };
        let question = Question::new(
            "--pagination",
            "next page",
            "cursor: a token; next_url: a URL in the answer; link: a URL in the `Link` header; page, offset: counted",
        );
        if self.pagination.is_none() && !questions.is_asked() {
            return Ok(());
        }
        let word = questions.choice(&question, self.pagination.as_ref(), &PAGINATIONS, default)?;
        if matches!(word.as_str(), "cursor" | "next_url") && questions.is_asked() {
            let known = match seen {
                Some(Paging::Cursor { from: TokenFrom::Answer(path), .. } | Paging::NextUrl { from: path }) => {
                    Some(path.clone())
                }
                Some(Paging::Cursor { from: TokenFrom::LastRecord(path), .. }) => Some(format!("record:{path}")),
                _ => None,
            };
            let from = Question::new(
                "--next-from",
                "where it stands",
                "a path into the answer: $.paging.next; record:$.id is the last record's",
            );
            wishes.next_from = questions.maybe(&from, self.next_from.as_ref(), known.as_deref())?;
        }
        if matches!(word.as_str(), "cursor" | "page" | "offset") && questions.is_asked() {
            let known = match seen {
                Some(Paging::Cursor { query, .. } | Paging::Page { query, .. } | Paging::Offset { query, .. }) => {
                    query.as_str()
                }
                _ => word.as_str(),
            };
            let param = Question::new(
                "--next-param",
                "its query parameter",
                "the parameter of the request that asks for the next page",
            );
            wishes.next_param = questions.maybe(&param, self.next_param.as_ref(), Some(known))?;
        }
        if matches!(word.as_str(), "page" | "offset") && questions.is_asked() {
            let param = Question::new(
                "--size-param",
                "query parameter of the page's size",
                "per_page, limit and the like; a larger page is fewer requests",
            );
            wishes.size_param = questions.maybe(&param, self.size_param.as_ref(), None)?;
        }
        wishes.pagination = Some(word);
        Ok(())
    }

    fn ask_changes(
        &self,
        wishes: &mut Wishes,
        questions: &Questions,
        proposal: Option<&Proposal>,
    ) -> Result<(), Failure> {
        let since = Question::new(
            "--since",
            "query parameter that asks for what changed since",
            "updated_since, modified_after and the like; empty if the API has none",
        );
        wishes.since = questions.maybe(&since, self.since.as_ref(), None)?;
        wishes.incremental = self.incremental.clone();
        if wishes.since.is_some() && questions.is_asked() {
            let known = proposal.and_then(|proposal| proposal.watermark.as_deref()).unwrap_or("updated_at");
            let field = Question::new(
                "--incremental",
                "member with the time of the last change",
                "the highest value that is stored is what the next run asks with",
            );
            wishes.incremental = questions.maybe(&field, self.incremental.as_ref(), Some(known))?;
        }
        let flagged = proposal.is_some_and(|proposal| matches!(proposal.deletes.value, DeletesDraft::Flag { .. }));
        let default = match (flagged, wishes.incremental.is_some()) {
            (true, _) => "flag",
            (false, true) => "none",
            (false, false) => "absence",
        };
        let question = Question::new(
            "--deletes",
            "what tells that a record is gone",
            "absence: it is not in the list any more; flag: it says so itself; feed: a list of deletions; sweep: all ids, once a day",
        );
        wishes.deleted.clone_from(&self.deleted);
        if self.deletes.is_some() || questions.is_asked() {
            let word = questions.choice(&question, self.deletes.as_ref(), &DELETES, default)?;
            if word == "flag" && !flagged && questions.is_asked() {
                let member =
                    Question::new("--deleted", "the member that says it", "archived, deleted_at, or status=gone");
                wishes.deleted = Some(questions.needed(&member, self.deleted.as_ref())?);
            }
            if matches!(word.as_str(), "feed") && questions.is_asked() {
                let path = Question::new("--deletes-get", "path of the list of deletions", "under the base URL");
                wishes.deletes_get = Some(questions.needed(&path, self.deletes_get.as_ref())?);
            }
            wishes.deletes = Some(word);
        }
        Ok(())
    }
}

/// The word of a pagination.
fn word_of(paging: &Paging) -> &'static str {
    match paging {
        Paging::OfProvider(_) => "provider",
        Paging::None => "none",
        Paging::Link => "link",
        Paging::NextUrl { .. } => "next_url",
        Paging::Cursor { .. } => "cursor",
        Paging::Offset { .. } => "offset",
        Paging::Page { .. } => "page",
    }
}
