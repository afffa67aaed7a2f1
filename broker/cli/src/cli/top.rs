//! `fanfare top`: the busiest topics and the slowest readers, live.

mod screen;
mod view;

use std::time::Duration;

use hyper::Method;
use tokio::signal::unix::{SignalKind, signal};

use super::admin::{Api, TopArgs};
use super::output;
use screen::{Key, Screen, keys};
use view::Snapshot;

/// How often it is asked anew.
const REFRESH: Duration = Duration::from_secs(1);
/// Rows of each list where nobody sees a screen.
const ROWS: usize = 10;

/// Shows what is busiest until it is told to quit, or once.
pub(crate) fn run(args: TopArgs) -> anyhow::Result<()> {
    super::runtime()?.block_on(async {
        let api = args.reach.api()?;
        let limit = args.limit.unwrap_or(ROWS);
        if args.once {
            return print(&snapshot(&api, limit).await?, args.json, limit);
        }
        if args.json || !output::is_for_people() || !output::can_be_asked() {
            loop {
                print(&snapshot(&api, limit).await?, args.json, limit)?;
                tokio::time::sleep(REFRESH).await;
            }
        }
        live(&api, args.limit).await
    })
}

fn print(snapshot: &Snapshot, json: bool, limit: usize) -> anyhow::Result<()> {
    if json {
        return output::line(&snapshot.to_json().to_string());
    }
    output::line(&snapshot.lines(limit).join("\n"))
}

/// Asks for all four lists.
async fn snapshot(api: &Api, limit: usize) -> anyhow::Result<Snapshot> {
    let mut lists = Vec::new();
    for by in view::BY {
        let query = [("by", Some(by.to_owned())), ("limit", Some(limit.to_string()))];
        lists.push(api.ask(Method::GET, "/v1/top", &query, None).await?);
    }
    Ok(Snapshot::new(lists))
}

async fn live(api: &Api, limit: Option<usize>) -> anyhow::Result<()> {
    // The first failure is said where it can be read.
    let mut shown = snapshot(api, 1).await?;
    let mut resized = signal(SignalKind::window_change())?;
    let (mut terminated, mut hung_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let (mut interrupted, mut quit) = (signal(SignalKind::interrupt())?, signal(SignalKind::quit())?);
    let screen = Screen::open()?;
    let mut keys = keys();
    let mut ticks = tokio::time::interval(REFRESH);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut trouble = None;
    loop {
        let rows = limit.unwrap_or_else(|| view::rows_in(screen.height()));
        tokio::select! {
            biased;
            key = keys.recv() => match key {
                Some(Key::Quit) | None => return Ok(()),
                Some(Key::Other) => continue,
            },
            _ = terminated.recv() => return Ok(()),
            _ = hung_up.recv() => return Ok(()),
            _ = interrupted.recv() => return Ok(()),
            _ = quit.recv() => return Ok(()),
            _ = resized.recv() => {}
            asked = async { ticks.tick().await; snapshot(api, rows).await } => match asked {
                Ok(snapshot) => (shown, trouble) = (snapshot, None),
                Err(error) => trouble = Some(output::printable(&format!("{error:#}"))),
            },
        }
        let mut lines = vec![trouble.clone().unwrap_or_else(|| "q quits".to_owned())];
        lines.extend(shown.lines(rows));
        screen.draw(&lines)?;
    }
}
