//! Every bound of headwater, by name. A loop, buffer, body, depth, wait or retry that is not bounded here is a bug.

use std::time::Duration;

pub use crate::spec::yaml::{DOCUMENT_BYTES_MAX, DOCUMENT_DEPTH_MAX};

/// The least length of a value in the URL of a file that is taken for a signature, and masked.
pub const SIGNATURE_CHARS_MIN: usize = 16;
/// Files read from one project and its catalogue.
pub const FILES_MAX: usize = 20_000;
/// Diagnostics printed before the rest is only counted.
pub const DIAGNOSTICS_MAX: usize = 200;

/// Syncs shown one by one on a screen or in a message before the rest is only counted.
pub const LISTED_MAX: usize = 20;

/// Mistakes told of one file before the rest is only counted.
pub const MISTAKES_PER_FILE_MAX: usize = 100;
/// Bytes of YAML read again to find the places of the mistakes of one file: each place costs one reading.
pub const LOCATE_BYTES_MAX: usize = 8 << 20;
/// The longest duration a YAML file can name.
pub const DURATION_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3_600);

/// Bytes of one path; the parser of paths recurses.
pub const PATH_BYTES_MAX: usize = 2_000;
/// Bytes that one pattern of a `validate` may take when it is compiled.
pub const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Times `..` may stand in one path: each goes through all that the one before has found, and finds deep values again and again.
pub const PATH_DESCENTS_MAX: usize = 2;
/// Bytes of one `{{ … }}`; the parser of expressions recurses.
pub const EXPRESSION_BYTES_MAX: usize = 2_000;
/// Levels of one expression: parentheses, lists, arguments.
pub const EXPRESSION_DEPTH_MAX: usize = 40;
/// Expressions in one template.
pub const EXPRESSIONS_MAX: usize = 200;
/// Instructions one template may run (minijinja's fuel).
pub const TEMPLATE_FUEL: u64 = 50_000;
/// Bytes of text and lists that one evaluation of an expression may make on the way.
pub const TEMPLATE_MEMORY_MAX: usize = 16 << 20;
/// Bytes one template may yield.
pub const TEMPLATE_BYTES_MAX: usize = 1 << 20;

/// Bytes of one response body, after decompression.
pub const RESPONSE_BYTES_MAX: usize = 64 << 20;
/// Bytes of one answer whose records are read while it comes: as they come, and again of all that is unpacked from them.
pub const STREAM_BYTES_MAX: u64 = 64 << 30;
/// The longest time that one such answer may take; between two pieces of it there is the time of `timeout.request`.
pub const STREAM_TIME_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Pieces of such an answer that have come and are not read yet; a piece has as much as came at once, up to a few hundred KiB.
pub const STREAM_PIECES_IN_FLIGHT: usize = 2;
/// Records of such an answer that are mapped at once.
pub const STREAM_RECORDS_AT_ONCE: usize = 1_000;
/// Bytes of such an answer that are mapped at once; one record may be more.
pub const STREAM_BYTES_AT_ONCE: usize = 2 << 20;
/// Bytes of one record of such an answer as it is written: white space, escapes and names are more than what `RECORD_BYTES_MAX` counts.
pub const RECORD_TEXT_BYTES_MAX: usize = 16 << 20;
/// Bytes of a zip that is kept on disk while its files are read: the list of them stands at its end.
pub const SPOOL_BYTES_MAX: u64 = 16 << 30;
/// Header lines of one answer over HTTP/1.1. (The whole head has at most 408 KiB there, which is hyper's bound.)
pub const RESPONSE_HEADERS_MAX: usize = 100;
/// Bytes of all header lines of one answer over HTTP/2, as RFC 9113 counts them.
pub const RESPONSE_HEADER_BYTES_MAX: u32 = 64 << 10;
/// Bytes of an error body that are kept for a message.
pub const ERROR_BODY_BYTES_MAX: usize = 2_000;
/// Redirects followed for one request; all must stay on the origin.
pub const REDIRECTS_MAX: usize = 5;
/// Attempts for one request where the provider names none.
pub const RETRY_ATTEMPTS: u32 = 10;
/// Attempts a provider may ask for.
pub const RETRY_ATTEMPTS_MAX: u32 = 100;
/// How long before its end a token is made anew, at most.
pub const REFRESH_AHEAD_MAX: chrono::TimeDelta = chrono::TimeDelta::minutes(1);
/// How long a process waits for another one that refreshes the token of the same connection.
pub const REFRESH_LOCK_WAIT_MAX: Duration = Duration::from_secs(150);
/// How long `headwater connect` waits for a person.
pub const CONNECT_WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// Tokens that are made for one request because the API refuses those before: a new one may end before the request comes to its turn.
pub const RENEWALS_MAX: u32 = 5;
/// Parts of the result of one export.
pub const PARTS_MAX: usize = 100_000;
/// Bytes of answers with details that are held at once, before their records become rows; one record may have more.
pub const DETAIL_BYTES_AT_ONCE: usize = 16 << 20;
/// Signatures in the URLs of files that are still masked when newer ones have followed.
pub const SIGNATURES_MASKED: usize = 64;
/// Secret values of headers and parameters that stand in the YAML itself or are computed for a request, and that are still masked when newer
/// ones have followed.
pub const RENDERED_MASKED: usize = 16;
/// Tokens of a connection that are still masked when newer ones have followed.
pub const TOKENS_MASKED: usize = 4;
/// The longest a run sleeps for the budget of a connection, or because its server asks for it, where the provider names no `wait_max`. A
/// longer one pauses the run.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);
/// The longest wait that a rule of `errors` finds in an answer. More is no number of seconds to wait, but a moment, or milliseconds.
pub const WAIT_TOLD_MAX: Duration = Duration::from_secs(31 * 24 * 3_600);

/// Bytes of the answer of a token endpoint.
pub const TOKEN_ANSWER_BYTES_MAX: usize = 1 << 20;
/// Bytes of a token, of a code that is exchanged for one, and of a value that is kept with it.
pub const TOKEN_BYTES_MAX: usize = 64 << 10;
/// Characters of what a server says when it gives no token.
pub const REFUSAL_CHARS_MAX: usize = 500;
/// How long the assertion lasts by which an application proves who it is at a token endpoint.
pub const CLIENT_ASSERTION_LASTS: Duration = Duration::from_secs(5 * 60);

/// Files of one archive.
pub const ARCHIVE_FILES_MAX: usize = 10_000;
/// Archives in archives.
pub const ARCHIVE_DEPTH_MAX: usize = 3;
/// Nested arrays and objects in a response.
pub const JSON_DEPTH_MAX: usize = 128;
/// Bytes of the memory that one answer was read into, up to which it is kept for the next answer.
pub const ARENA_BYTES_MAX: usize = 4 << 20;
/// Bytes of one record as JSON; a longer one goes to quarantine.
pub const RECORD_BYTES_MAX: usize = 8 << 20;
/// Bytes of a raw record that quarantine keeps; what is cut is said in the reason.
pub const QUARANTINE_BYTES_MAX: usize = 64 << 10;
/// Records of the quarantine that `retry` takes at once; with `QUARANTINE_BYTES_MAX` that bounds its memory.
pub const RETRY_RECORDS_AT_ONCE: usize = 200;
/// Bytes of the mapped rows of one page; templates and overlapping paths can make them more than the page itself.
pub const BATCH_BYTES_MAX: usize = 256 << 20;
/// Characters of a value quoted in a message.
pub const QUOTED_CHARS_MAX: usize = 80;

/// Pages of one scan where the sync names no `max_pages`.
pub const PAGES_MAX: u64 = 1_000_000;
/// Empty pages in a row, each with a next cursor, before the scan is called stuck.
pub const EMPTY_PAGES_MAX: u32 = 100;
/// Pages with the same records in a row before the scan is called stuck.
pub const SAME_PAGES_MAX: u32 = 3;
/// How far the clock of an API and that of this machine may be apart, where both are compared.
pub const CLOCK_SKEW_MAX: chrono::TimeDelta = chrono::TimeDelta::minutes(5);
/// Windows of one run that may fail before no other is begun.
pub const WINDOW_FAILURES_MAX: u32 = 3;
/// Entries of a list of deletions that are remembered because they are read again.
pub const FEED_APPLIED_MAX: usize = 2_000;

/// Columns that the input of a connection may make in one table.
pub const COLUMNS_MAX: usize = 500;
/// Rows of one commit group.
pub const GROUP_ROWS_MAX: usize = 122_880;
/// Rows of a row group of DuckDB in what headwater writes, and of a commit group of a first load: what fills a row group is compressed once and
/// stands in the file before it is committed, and the write-ahead log has its place alone. A quarter of what DuckDB takes by itself: both wait
/// in memory.
pub const ROW_GROUP_ROWS: usize = 30_720;
/// Times that a list is read, if it may have moved under the reader each time, before it is left for the next run.
pub const ROUNDS_MAX: u32 = 5;
/// Partitions of a fan-out whose checkpoints one commit group moves.
pub const GROUP_PARTITIONS_MAX: usize = 256;
/// Records of a partition whose end waits for those of its neighbours; one with more ends by itself.
pub const PARTITION_RECORDS_GATHERED: u64 = 10_000;
/// Items of a fan-out that are looked up at once.
pub const PARTITIONS_AT_ONCE: usize = 256;
/// Rows of a fan-out that are remembered because not all below them could be read. Where there are more, all of them are asked about again.
pub const LISTS_UNREAD_MAX: usize = 1_000;
/// Places of a walk that one run goes to: more are taken for a walk that makes new ones for ever.
pub const PLACES_MAX: usize = 2_000_000;
/// Rows whose records `remap` maps in one transaction.
pub const REMAP_ROWS_MAX: usize = 20_000;
/// Bytes of these records.
pub const REMAP_BYTES_MAX: usize = 16 << 20;
/// Bytes of the places of a walk that one statement notes.
pub const NODES_BYTES_MAX: usize = 16 << 20;
/// Bytes of the mapped rows of one commit group.
pub const GROUP_BYTES_MAX: usize = 64 << 20;
/// The same where the table has rows. Before a group is as large, those that are as they were leave it; it is committed where half is left.
pub const COMPARED_BYTES_MAX: usize = 12 << 20;
/// Before rows of as many bytes are committed, what the last left over of memory goes back to the system.
pub const GIVEN_BACK_BEFORE: usize = 256 << 10;
/// The oldest a page in an open commit group may get.
pub const GROUP_AGE_MAX: Duration = Duration::from_secs(2);
/// An answer of up to so many bytes is read on the thread that got it: that takes half a millisecond, and waking another a tenth of one.
pub const READ_AT_ONCE_BYTES_MAX: usize = 64 << 10;
/// Pages parsed and not yet in a commit group, per sync.
pub const PAGES_IN_FLIGHT: usize = 3;
/// Commit groups waiting for the writer.
pub const GROUPS_IN_FLIGHT: usize = 2;
/// The wait before a scheduled sync that failed runs again; it doubles with each failure.
pub const RUN_RETRY_WAIT: Duration = Duration::from_secs(60);
/// The longest such wait.
pub const RUN_RETRY_WAIT_MAX: Duration = Duration::from_secs(60 * 60);
/// The wait before the scheduler asks for a database again that another process works on.
pub const BUSY_WAIT: Duration = Duration::from_secs(1);
/// The longest that the scheduler looks neither at the clock, which may be set, nor whether somebody else has changed the database.
pub const DATABASE_LOOKED_AT: Duration = Duration::from_secs(1);
/// How long the scheduler trusts that a database is as it was because its file is: it may have been changed as it was let go of.
pub const DATABASE_KNOWN_FOR: Duration = Duration::from_secs(60);
/// The wait before a notification is sent again, after the first attempt, the second, and so on; behind the last it is given up. About a day.
pub const NOTIFY_RETRIES: [Duration; 10] = [
    Duration::from_secs(2),
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(60 * 60),
    Duration::from_secs(2 * 60 * 60),
    Duration::from_secs(4 * 60 * 60),
    Duration::from_secs(6 * 60 * 60),
    Duration::from_secs(10 * 60 * 60),
];
/// Attempts of a notification for which later ones wait, so that the order stays; then they pass it.
pub const NOTIFY_BLOCKS_FOR: u32 = 3;
/// Attempts of a notification that is refused with a status that says that trying again helps nobody.
pub const NOTIFY_REFUSED_ATTEMPTS: u32 = 3;
/// The longest that an endpoint is waited for because it asks for it (`Retry-After`).
pub const NOTIFY_WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How long an endpoint may fail before nothing is sent there any more, until somebody resumes it.
pub const NOTIFY_FAILING_MAX: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// The longest time to connect to an endpoint, and for its whole answer.
pub const NOTIFY_CONNECT_MAX: Duration = Duration::from_secs(5);
/// See [`NOTIFY_CONNECT_MAX`].
pub const NOTIFY_ANSWER_MAX: Duration = Duration::from_secs(15);
/// Notifications to one endpoint that are taken from the database at once.
pub const NOTIFY_AT_ONCE: usize = 16;
/// Endpoints that are sent to at once.
pub const NOTIFY_ENDPOINTS_AT_ONCE: usize = 8;
/// Characters of a message in a notification.
pub const NOTIFY_MESSAGE_CHARS_MAX: usize = 2_000;
/// How long a notification is kept that all endpoints have.
pub const NOTIFIED_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long one is kept that some endpoint does not have.
pub const NOT_NOTIFIED_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Notifications that are listed.
pub const NOTIFICATIONS_LISTED_MAX: usize = 100;
/// How old a copy that is published after each run may become while runs follow each other.
pub const PUBLISH_WAIT_MAX: Duration = Duration::from_secs(5 * 60);
/// Bytes that a key of the daemon's API has at least.
pub const API_KEY_BYTES_MIN: usize = 24;
/// Requests that the API works on at once.
pub const API_REQUESTS_AT_ONCE: usize = 32;
/// Requests of one key in a second, on average.
pub const API_REQUESTS_PER_SECOND: u32 = 50;
/// Requests of one key that may come at once.
pub const API_REQUESTS_BURST: u32 = 200;
/// How long the API works on one request.
pub const API_WAIT_MAX: Duration = Duration::from_secs(75);
/// Records of a page of the API where the request does not say how many.
pub const API_RECORDS: usize = 100;
/// Records of a page of the API at most.
pub const API_RECORDS_MAX: usize = 10_000;
/// Bytes of the records of a page: the one that goes beyond is the last.
pub const API_PAGE_BYTES_MAX: usize = 16 << 20;
/// Ids that a request of the API may ask for.
pub const API_IDS_MAX: usize = 1_000;
/// Runs that the API lists where the request does not say how many.
pub const API_RUNS: usize = 50;
/// Runs that the API lists at most.
pub const API_RUNS_MAX: usize = 1_000;
/// Bytes of the body of a request to the daemon.
pub const API_BODY_BYTES_MAX: usize = 1 << 20;
/// Variants of a sync of a connection that the API makes.
pub const API_VARIANTS_MAX: usize = 100;
/// Actions that are called over the API at once, those whose caller has gone included.
pub const API_ACTIONS_AT_ONCE: usize = 16;
/// Bytes of the key by which a caller says that a call is the same once more.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// How long a query over the API may take: no commit is made meanwhile.
pub const API_QUERY_WAIT_MAX: Duration = Duration::from_secs(10);
/// Rows that one request prunes at most.
pub const API_PRUNED_MAX: usize = 100_000;
/// Bytes of the body of a delivery of events. (GitHub sends 25 MB at most, and nothing of what is larger.)
pub const WEBHOOK_BODY_BYTES_MAX: usize = 25 << 20;
/// Events of one delivery.
pub const WEBHOOK_EVENTS_MAX: usize = 10_000;
/// Signatures in the header of one delivery that are looked at: there are several while a secret is being changed.
pub const WEBHOOK_SIGNATURES_MAX: usize = 16;
/// Secrets that a delivery is checked with, where it is for whichever connection it fits.
pub const WEBHOOK_SECRETS_MAX: usize = 100;
/// Deliveries that are read and checked at once; others wait.
pub const WEBHOOKS_AT_ONCE: usize = 8;
/// How long a delivery may take to come, to be checked, and to be written. APIs wait between 3 and 30 seconds for an answer.
pub const WEBHOOK_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long the secrets that deliveries are checked with are remembered.
pub const WEBHOOK_KEYS_KEPT: Duration = Duration::from_secs(30);
/// How often it is told at most that deliveries to a connection are refused.
pub const WEBHOOK_TOLD_EVERY: Duration = Duration::from_secs(60);
/// Connections whose events are worked off at once.
pub const INBOX_LANES_AT_ONCE: usize = 8;
/// How often the inbox is looked into though nothing has come.
pub const INBOX_LOOKED_AT: Duration = Duration::from_secs(60 * 60);
/// How often old events are taken out of it.
pub const INBOX_PRUNED_EVERY: Duration = Duration::from_secs(60 * 60);
/// Events of the inbox that are read at once.
pub const INBOX_EVENTS_AT_ONCE: usize = 100;
/// Bytes of events of the inbox that are read at once; one may be more.
pub const INBOX_BYTES_AT_ONCE: usize = 32 << 20;
/// Times that an event is tried before it is kept with its error, and others go on.
pub const INBOX_ATTEMPTS: u32 = 4;
/// The wait before an event that failed is tried again; it doubles each time.
pub const INBOX_RETRY_WAIT: Duration = Duration::from_secs(2);
/// How long an event is kept when it is done: as long an id is known.
pub const INBOX_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Bytes of the error that is kept with an event.
pub const INBOX_ERROR_BYTES_MAX: usize = 2_000;
/// Characters of a secret from which on it is looked for in a text.
pub const SECRET_CHARS_MIN: usize = 4;
/// How long somebody stays logged in to the page.
pub const PAGE_SESSION_LASTS: chrono::TimeDelta = chrono::TimeDelta::hours(12);
/// Sessions of the page; the oldest makes room for the next.
pub const PAGE_SESSIONS_MAX: usize = 1_000;
/// Wrong keys in a second, on average, behind which none is looked at for a while.
pub const PAGE_GUESSES_PER_SECOND: u32 = 1;
/// Wrong keys that may come at once.
pub const PAGE_GUESSES_BURST: u32 = 10;
/// Pages that are made at once; others wait.
pub const PAGE_AT_ONCE: usize = 8;
/// Syncs on one page.
pub const PAGE_SYNCS: usize = 200;
/// Runs of a sync that are drawn.
pub const PAGE_RUNS_DRAWN: usize = 30;
/// Runs that are listed.
pub const PAGE_RUNS_LISTED: usize = 100;
/// Requests of a run that are listed.
pub const PAGE_REQUESTS_LISTED: usize = 500;
/// Records of a table on one page.
pub const PAGE_RECORDS: usize = 50;
/// Bytes of the records on one page: the one that goes beyond is the last.
pub const PAGE_RECORDS_BYTES: usize = 1 << 20;
/// Characters of a value of a record; more of it is shown when somebody asks.
pub const PAGE_VALUE_CHARS: usize = 80;
/// Records of the quarantine that are listed.
pub const PAGE_QUARANTINE: usize = 20;
/// Characters of each of them.
pub const PAGE_QUARANTINE_CHARS: usize = 8_000;
/// How long the scheduler may take to say how it is.
pub const READY_WAIT_MAX: Duration = Duration::from_secs(5);
/// Commands that wait for the scheduler.
pub const COMMANDS_WAITING: usize = 64;
/// Syncs that run at once.
pub const SYNCS_AT_ONCE: usize = 4;
/// Syncs that the daemon runs at once, if nobody says otherwise: one that waits for its API keeps its place.
pub const SERVED_AT_ONCE: usize = 16;
/// And the most that can be said.
pub const SERVED_AT_ONCE_MAX: usize = 256;
/// Rows of a table that answer a call in place of the API; where there are more, the API is asked, which gives them in pages.
pub const ACTION_ROWS_MAX: usize = 1_000;
/// Tests of integrations that run at once.
pub const TESTS_AT_ONCE: usize = 4;
/// Rows of a table that a test looks at.
pub const TEST_ROWS_MAX: usize = 10_000;
/// Characters of a value that is shown where a test fails.
pub const TEST_VALUE_CHARS_MAX: usize = 60;
/// Lines that are shown of one thing that is not as a test expects it.
pub const TEST_LINES_MAX: usize = 60;
/// Bytes of one answer that can be recorded as part of a test.
pub const RECORD_ANSWER_BYTES_MAX: usize = 8 << 20;
/// Runs that are recorded as one test.
pub const RECORD_RUNS_MAX: u64 = 10;
/// Requests of a sync in each of them.
pub const RECORD_PAGES_MAX: u64 = 100;
/// How often `watch` looks whether a file of the project has changed.
pub const WATCH_EVERY: Duration = Duration::from_millis(200);
/// Folders within each other that `watch` looks into.
pub const WATCH_DEPTH_MAX: usize = 8;
/// Requests that a test does not expect and that are shown.
pub const TEST_REQUESTS_SHOWN: usize = 5;

/// Bytes of the credential store's file.
pub const CREDENTIALS_BYTES_MAX: usize = 4 << 20;
/// How long a write of the credential store waits for that of another process.
pub const CREDENTIALS_WAIT_MAX: Duration = Duration::from_secs(10);
/// Times that the credential store is read again because its key was changed meanwhile.
pub const CREDENTIALS_READS_MAX: u32 = 5;
/// Bytes of the text that holds the keys of the credential store: a variable, a file, what a command prints.
pub const KEY_TEXT_BYTES_MAX: usize = 4 << 10;
/// Keys of the credential store that are at hand at once.
pub const KEYS_MAX: usize = 16;
/// How long the command that prints the key may take; a person may have to unlock a keyring.
pub const KEY_COMMAND_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long a commit waits for another process to let go of the DuckDB file.
pub const LOCK_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long the writer keeps the DuckDB file for a commit that has not come yet. Others can open the file once it lets go.
pub const FILE_HELD_IDLE_MAX: Duration = Duration::from_millis(250);
/// How long the writer keeps the file at most while commits follow each other.
pub const FILE_HELD_MAX: Duration = Duration::from_secs(2);
/// How often in a row the file is let go of without its small row groups becoming large ones, while commits follow each other.
pub const RELEASED_BRIEFLY_MAX: u32 = 100;
/// How long the file is free then, so that a reader who tries for it ten times a second gets it.
pub const FILE_FREE_MIN: Duration = Duration::from_millis(120);
/// The length in bytes from which DuckDB's write-ahead log is folded into the file after a commit, though the file is not let go of.
pub const LOG_LENGTH_MAX: u64 = 256 << 20;
/// Times that the lock of a run is tried for once more before another run is told of.
pub const RUN_LOCK_TRIES: u32 = 10;
/// The wait between two such times.
pub const RUN_LOCK_PAUSE: Duration = Duration::from_millis(20);
/// DuckDB's own memory limit inside headwater, in bytes, unless the tables are so wide or so long that it needs more.
pub const DUCKDB_MEMORY: u64 = 160_000_000;
/// What DuckDB needs for itself, beside what the columns of the widest table and the rows of all do.
pub const DUCKDB_MEMORY_LEAST: u64 = 64_000_000;
/// The same while the log is folded into the file. That needs no more than a third of it; with what is there DuckDB holds rows of small row groups
/// in memory that become large ones, and those can be spilled.
pub const DUCKDB_MEMORY_FOLDING_LEAST: u64 = 32_000_000;
/// What a column of the widest table needs: while rows are added, deleted or folded into the file, DuckDB holds blocks of 256 KiB for each of its
/// columns, however few the rows. Measured with 500 columns of text: 512 MB were not enough, 640 MB were.
pub const DUCKDB_MEMORY_PER_COLUMN: u64 = 5 << 18;
/// What a row of any table may need: DuckDB keeps 16 KiB for 2,048 rows of which one is deleted, and cannot spill them. Folding the log into
/// the file takes them of all tables (`RowGroupCollection::InitializeVacuumState` of 1.5.5).
pub const DUCKDB_MEMORY_PER_ROW: u64 = 8;
/// The highest limit that DuckDB gets.
pub const DUCKDB_MEMORY_MAX: u64 = 6 << 30;
/// Seen keys that are deleted row by row; of more, those that stay are copied. A deleted row takes 8 bytes that cannot be spilled.
pub const SEEN_KEYS_DELETED_AT_ONCE: usize = 1_000_000;
/// Keys that the end of a scan compares at once with the table; their join fits into `DUCKDB_MEMORY`.
pub const ABSENCE_KEYS_AT_ONCE: u64 = 1_000_000;

/// How long a request stays in the log.
pub const REQUESTS_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Requests that stay in the log.
pub const REQUESTS_KEPT_ROWS: i64 = 1_000_000;
/// Requests of a run that wait for its next commit to be logged; of more, the last.
pub const REQUESTS_LOGGED_AT_ONCE: usize = 10_000;
/// Headers of a request or an answer that are logged.
pub const HEADERS_LOGGED_MAX: usize = 40;
/// Bytes of the value of a header that are logged.
pub const HEADER_CHARS_LOGGED_MAX: usize = 300;
/// The time that a collector of traces has for a batch, where the environment says nothing.
pub const COLLECTOR_WAIT: Duration = Duration::from_secs(10);
/// How long the end of the program waits for the traces that were not sent yet.
pub const COLLECTOR_FLUSH_MAX: Duration = Duration::from_secs(3);
/// Bytes of the answer of a collector that are looked at.
pub const COLLECTOR_ANSWER_BYTES_MAX: usize = 64 << 10;

/// Bytes of a document of another program that drafts are made from.
pub use crate::spec::foreign::FOREIGN_BYTES_MAX;
/// Operations of an OpenAPI document that are looked at.
pub const DRAFT_OPERATIONS_MAX: usize = 5_000;
/// Steps over one OpenAPI document: references that are followed.
pub const DRAFT_STEPS_MAX: usize = 20_000_000;
/// References of an OpenAPI document that lead to references.
pub const DRAFT_HOPS_MAX: usize = 16;
/// Schemas in schemas that are looked at.
pub const DRAFT_SCHEMA_DEPTH_MAX: usize = 12;
/// Members of an object of a schema that are looked at.
pub const DRAFT_MEMBERS_MAX: usize = 400;
/// Columns that one draft of a model has.
pub const DRAFT_COLUMNS_MAX: usize = 250;
/// Levels of an answer in which records are looked for.
pub const DRAFT_LIST_DEPTH_MAX: usize = 4;
/// Levels of an answer in which what tells of the next page is looked for.
pub const DRAFT_FACT_DEPTH_MAX: usize = 3;
/// Times that `headwater new` asks one question.
pub const QUESTION_ATTEMPTS_MAX: usize = 5;
/// Files that `headwater new` lists before the rest is only counted.
pub const WRITTEN_LISTED_MAX: usize = 30;
