//! What stands beside a number in the table for people. Each is for one row, and says nothing of other reports.

use super::Report;
use super::quantiles::Quantiles;
use super::row::{bytes, count, rate, seconds};

pub(super) fn nothing(_: &Report) -> String {
    String::new()
}

/// A remark on a part of a report, where there is one.
fn on<T>(part: Option<&T>, remark: impl FnOnce(&T) -> String) -> String {
    part.map_or_else(String::new, remark)
}

pub(super) fn published(report: &Report) -> String {
    on(report.deliveries(), |it| {
        format!("{} of {}", rate(it.published.per_second), rate(it.published.offered_per_second))
    })
}

pub(super) fn confirmed(report: &Report) -> String {
    report.config.confirmed.clone()
}

pub(super) fn delivered(report: &Report) -> String {
    on(report.deliveries(), |it| rate(it.delivered_per_second))
}

pub(super) fn announced(report: &Report) -> String {
    on(report.deliveries(), |it| {
        let mut announced = match it.gaps {
            0 => String::new(),
            gaps => format!("the broker announced {} as missed", count(gaps)),
        };
        if it.over_told > 0 {
            announced += &format!(", {} more than were", count(it.over_told));
        }
        announced
    })
}

pub(super) fn late_p99(report: &Report) -> String {
    late(sent_late(report), "p99", |late| late.p99)
}

pub(super) fn late_max(report: &Report) -> String {
    late(sent_late(report), "max", |late| late.max)
}

fn sent_late(report: &Report) -> Option<&Quantiles> {
    report.deliveries()?.sent_late_seconds.as_ref()
}

fn late(sent_late: Option<&Quantiles>, what: &str, of: fn(&Quantiles) -> f64) -> String {
    on(sent_late, |late| format!("sent late {what} {}", seconds(of(late))))
}

pub(super) fn attack(report: &Report) -> String {
    on(report.beside(), |it| {
        let plural = if it.attackers == 1 { "" } else { "s" };
        format!("{} by {} attacker{plural}", it.attack, count(it.attackers.into()))
    })
}

pub(super) fn pings(report: &Report) -> String {
    on(report.pings(), |it| {
        let plural = if it.connections == 1 { "" } else { "s" };
        let (connections, interval) = (count(it.connections.into()), seconds(it.interval_seconds));
        format!("of {connections} connection{plural} by {}, one due every {interval} on each", it.via)
    })
}

pub(super) fn pinged_late_p99(report: &Report) -> String {
    late(pinged_late(report), "p99", |late| late.p99)
}

pub(super) fn pinged_late_max(report: &Report) -> String {
    late(pinged_late(report), "max", |late| late.max)
}

fn pinged_late(report: &Report) -> Option<&Quantiles> {
    report.pings()?.sent_late_seconds.as_ref()
}

pub(super) fn connected(report: &Report) -> String {
    on(report.idle(), |it| growth(it.connections, it.before_bytes, it.connected_bytes))
}

pub(super) fn after_burst(report: &Report) -> String {
    on(report.idle(), |it| growth(it.connections, it.before_bytes, it.after_burst_bytes))
}

fn growth(connections: u64, before: u64, after: u64) -> String {
    let [after, before] = [after, before].map(|size| bytes(size as f64));
    format!("{} connections took the server from {before} to {after}", count(connections))
}

pub(super) fn connects(report: &Report) -> String {
    on(report.connects(), |it| format!("{}, {} at a time", rate(it.per_second), it.concurrency))
}

pub(super) fn split_of_connects(report: &Report) -> String {
    on(report.connects(), |it| split(it.server_cpu_seconds_each, it.server_user_seconds_each))
}

pub(super) fn split_of_ingest(report: &Report) -> String {
    on(report.ingest(), |it| split(it.server_cpu_seconds_each, it.server_user_seconds_each))
}

fn split(cpu: Option<f64>, user: Option<f64>) -> String {
    let split = |(cpu, user): (f64, f64)| format!("{} user, {} system", seconds(user), seconds(cpu - user));
    cpu.zip(user).map_or_else(String::new, split)
}

pub(super) fn window(report: &Report) -> String {
    on(report.ingest(), |it| {
        format!("{} by {}, {} under way each", rate(it.acknowledged_per_second), it.via, it.window)
    })
}

pub(super) fn held_open(_: &Report) -> String {
    "held open meanwhile".into()
}

pub(super) fn got(report: &Report) -> String {
    on(report.stuck(), |it| format!("they got {} in the end", count(it.delivered)))
}

pub(super) fn told(report: &Report) -> String {
    on(report.stuck(), |it| {
        let mut told = format!("they missed {} and were told of {}", count(it.missed), count(it.told));
        if it.over_told > 0 {
            told += &format!(", {} more than each missed", count(it.over_told));
        }
        told
    })
}

pub(super) fn out_of_order(_: &Report) -> String {
    "out of order".into()
}

pub(super) fn halves(report: &Report) -> String {
    on(report.stuck().and_then(|it| it.memory.as_ref()), |memory| {
        let [first, second] = [memory.first_half_bytes, memory.second_half_bytes].map(bytes);
        format!("mean {first} in the first half, {second} in the second")
    })
}

pub(super) fn cut_off(report: &Report) -> String {
    on(report.resume(), |it| {
        format!("of {} that were cut off; {} attempts failed", count(it.cut_off.into()), it.failed_attempts)
    })
}

pub(super) fn replayed(report: &Report) -> String {
    on(report.resume(), |it| format!("{} publications were replayed", count(it.replayed)))
}

pub(super) fn shares(report: &Report) -> String {
    on(report.neighbour(), |it| {
        let shares: Vec<_> = it.shares.iter().map(|share| count(*share)).collect();
        format!("of {}", shares.join(", "))
    })
}

pub(super) fn listeners(report: &Report) -> String {
    on(report.neighbour(), |it| {
        format!("of {}; {} slow subscribers", it.listeners, count(it.subscribers_closed))
    })
}

pub(super) fn own_cpu(report: &Report) -> String {
    let each = report.loadgen.cpu_seconds_per_delivery;
    let each = each.map_or_else(String::new, |each| format!("{} a delivery; ", seconds(each)));
    format!("{each}busiest thread {:.0}%", 100.0 * report.loadgen.busiest_thread)
}

pub(super) fn server_cpu(report: &Report) -> String {
    on(report.server.as_ref(), |it| {
        let each =
            [it.cpu_seconds_per_delivery, it.user_seconds_per_delivery, it.system_seconds_per_delivery];
        match each {
            [Some(all), Some(user), Some(system)] => {
                format!("{} a delivery: {} user, {} system", seconds(all), seconds(user), seconds(system))
            }
            _ => format!("{} user, {} system", seconds(it.user_seconds), seconds(it.system_seconds)),
        }
    })
}

pub(super) fn server_memory(report: &Report) -> String {
    on(report.server.as_ref(), |it| {
        let of = match it.processes {
            0 | 1 => String::new(),
            processes => format!("; of {processes} processes"),
        };
        format!(
            "{} before; its own {}, {} before{of}",
            bytes(it.rss_before_bytes as f64),
            bytes(it.anonymous_bytes as f64),
            bytes(it.anonymous_before_bytes as f64),
        )
    })
}
