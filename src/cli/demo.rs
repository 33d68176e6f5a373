use std::path::{Path, PathBuf};
use std::sync::Arc;

use include_dir::{Dir, DirEntry, include_dir};
use tokio::sync::watch;

use super::output::{DIM, Failure, bold, table};
use super::progress::{self, Style};
use super::{Done, project, query, run, status};
use crate::demo::{self, Server};
use crate::engine::{self, HostOptions};
use crate::plan::{Budget, ConnectionPlan, CredentialSource, Plan, SyncPlan};
use crate::scan::Wish;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the example project goes (default: `headwater-demo` in the folder for temporary files).
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Only serve the sample API, on the port that `examples/shop` names, until interrupted.
    #[arg(long)]
    serve: bool,
}

static SHOP: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/examples/shop");

/// The address in `examples/shop/headwater.yaml`.
const SHOP_PORT: u16 = 8765;

pub(super) fn run(arguments: &Arguments) -> Done {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if arguments.serve {
        return runtime.block_on(serve());
    }
    let folder = arguments.dir.clone().unwrap_or_else(|| std::env::temp_dir().join("headwater-demo"));
    runtime.block_on(tour(&folder))
}

async fn serve() -> Done {
    let server = Server::start(demo::Options { port: SHOP_PORT, ..demo::Options::default() }).await?;
    anstream::println!(
        "the sample shop is at {}; its key is `{}`; Ctrl-C ends it",
        server.base_url(),
        server.api_key()
    );
    tokio::signal::ctrl_c().await?;
    Ok(0)
}

async fn tour(folder: &Path) -> Done {
    let server = Server::start(demo::Options { throttle_every: Some(15), ..demo::Options::default() }).await?;
    unpack(folder, &server)?;
    let title = bold(anstyle::AnsiColor::Cyan);
    anstream::println!(
        "{title}A sample shop{title:#} answers at {}; its project is in {}\n",
        server.base_url(),
        folder.display()
    );
    let plan = with_key(project::plan(folder)?, server.api_key());

    anstream::println!("{title}First sync:{title:#} everything is new");
    let mut worst = sync(&plan).await?;
    server.advance();
    anstream::println!("\n{title}An hour passes in the shop.{title:#} Second sync: only what changed is written");
    worst = worst.max(sync(&plan).await?);
    anstream::println!("\n{title}Nothing happens in the shop.{title:#} Third sync: no row is touched");
    worst = worst.max(sync(&plan).await?);

    let store = status::open(&plan.database)?;
    for (heading, sql) in LOOKS {
        anstream::println!("\n{title}{heading}{title:#}\n{DIM}{sql}{DIM:#}");
        let mut rows = Vec::new();
        let columns = store.query(sql, |_, values| {
            rows.push(values.iter().map(query::cell).collect());
            std::ops::ControlFlow::Continue(())
        })?;
        let headings: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        anstream::println!("{}", table(&headings, &rows, &[]));
    }
    let program = std::env::args().next().unwrap_or_else(|| "headwater".into());
    anstream::println!("\n{title}To look further{title:#}");
    for command in [
        "query \"from shop.orders_live limit 5\"",
        "query \"select _last_action, count(*) from shop.order_lines group by all\"",
        "changes shop.orders --after 0 --limit 3",
        "explain demo/customers",
        "status",
    ] {
        anstream::println!("  {program} --project {} {command}", folder.display());
    }
    anstream::println!("  duckdb {}", plan.database.display());
    Ok(worst)
}

const LOOKS: [(&str, &str); 3] = [
    (
        "What happened to the orders",
        "select _last_action as action, count(*) as orders, max(_change) as last_change from shop.orders group by all order by all",
    ),
    (
        "The last changes, in the order they were made",
        "select _change, _last_action as action, number, status, total from shop.orders order by _change desc limit 5",
    ),
    (
        "The three runs of the customers: one record did not fit, until the shop mended it",
        "select state, records, added, updated, deleted, unchanged, quarantined from headwater.runs where sync = 'customers' \
         order by started_at",
    ),
];

async fn sync(plan: &Plan) -> Result<u8, Failure> {
    let (observer, bars) = progress::observer(Style::of_terminal().quiet(), &plan.syncs);
    let (_keep, stop) = watch::channel(false);
    let report = engine::run(
        &plan.syncs,
        engine::Options {
            host: HostOptions::of(plan, engine::system_clock()),
            wish: Wish::default(),
            allow_destructive: false,
            budget: Budget::default(),
            observer,
            stop,
        },
    )
    .await;
    bars.end();
    let report = report?;
    run::print_report(&report);
    Ok(run::code(&report))
}

/// Writes the example project, with the server's address in it, and without what an earlier demo left.
#[expect(clippy::disallowed_methods, reason = "the demo writes its own project")]
fn unpack(folder: &Path, server: &Server) -> Result<(), Failure> {
    let written = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| Failure::user(format!("{path} cannot be written: {error}"), None)
    };
    let mut entries: Vec<&DirEntry<'_>> = SHOP.entries().iter().collect();
    while let Some(entry) = entries.pop() {
        match entry {
            DirEntry::Dir(inner) => entries.extend(inner.entries()),
            DirEntry::File(file) => {
                let path = folder.join(file.path());
                if let Some(parent) = path.parent() {
                    std::fs::create_dir_all(parent).map_err(written(parent))?;
                }
                let text = file.contents_utf8().unwrap_or_default();
                let text = text.replace(&format!("http://127.0.0.1:{SHOP_PORT}"), &server.base_url());
                std::fs::write(&path, text).map_err(written(&path))?;
            }
        }
    }
    for name in ["warehouse.duckdb", "warehouse.duckdb.wal"] {
        let path = folder.join(name);
        if path.exists() {
            std::fs::remove_file(&path).map_err(written(&path))?;
        }
    }
    Ok(())
}

/// The plan with the sample shop's key, which is no secret and need not be in the environment.
fn with_key(plan: Plan, key: &str) -> Plan {
    let with_key = |sync: Arc<SyncPlan>| {
        let mut connection = ConnectionPlan::clone(&sync.connection);
        connection.credentials.insert("api_key".into(), CredentialSource::Literal(key.into()));
        Arc::new(SyncPlan { connection: Arc::new(connection), ..SyncPlan::clone(&sync) })
    };
    Plan { syncs: plan.syncs.into_iter().map(with_key).collect(), ..plan }
}
