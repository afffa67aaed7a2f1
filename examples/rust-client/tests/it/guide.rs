//! The guide and the examples, word for word.

const GUIDE: &str = include_str!("../../../../docs/rust-client.md");
const SOURCES: [&str; 5] = [
    include_str!("../../src/connecting.rs"),
    include_str!("../../src/publishing.rs"),
    include_str!("../../src/running.rs"),
    include_str!("../../src/subscribing.rs"),
    include_str!("testing.rs"),
];

/// The code blocks of `whom`.
fn snippets(whom: &str) -> impl Iterator<Item = &'static str> {
    let fence = format!("\n```rust {whom}\n");
    let blocks =
        GUIDE.match_indices(&fence).map(|(at, fence)| &GUIDE[at + fence.len()..]).collect::<Vec<_>>();
    blocks.into_iter().map(|block| &block[..=block.find("\n```").expect("the block ends")])
}

#[test]
fn every_snippet_stands_in_the_examples() {
    for snippet in snippets("fanfare") {
        assert!(SOURCES.iter().any(|source| source.contains(snippet)), "not in the examples:\n{snippet}");
    }
}

#[test]
fn every_example_stands_in_the_guide() {
    let shown = snippets("fanfare").collect::<String>();
    let heads = SOURCES
        .iter()
        .flat_map(|source| source.lines())
        .filter(|line| ["pub fn ", "pub async fn ", "async fn "].iter().any(|start| line.starts_with(start)));
    for head in heads {
        assert!(shown.contains(head), "not in the guide: {head}");
    }
}

#[test]
fn every_task_tells_of_all_three() {
    let tasks = GUIDE.split("\n## ").filter(|section| section.contains("```rust fanfare"));
    for task in tasks {
        for whom in ["\n**Fanfare**", "\n**async-nats**", "\n**redis**"] {
            assert!(task.contains(whom), "no {whom:?} in: {}", task.lines().next().unwrap_or_default());
        }
    }
}
