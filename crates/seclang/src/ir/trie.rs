//! The trie of transformation chains: chains that begin alike share their beginning, so that a value is decoded once.

use crate::transforms::Transform;

/// A chain of transformations; the root is the empty chain.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Node(usize);

impl Node {
    /// The value as it is.
    pub(crate) const RAW: Self = Self(0);

    pub(crate) const fn index(self) -> usize {
        self.0
    }
}

/// All chains of a rule set.
#[derive(Debug)]
pub(crate) struct Trie {
    /// Parent and last step of each node; the root's entry is never asked for.
    nodes: Vec<(Node, Option<Transform>)>,
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![(Node::RAW, None)] }
    }
}

impl Trie {
    /// The node of a chain, made when it is new.
    pub(crate) fn intern(&mut self, steps: &[Transform]) -> Node {
        steps.iter().fold(Node::RAW, |parent, &step| self.child(parent, step))
    }

    fn child(&mut self, parent: Node, step: Transform) -> Node {
        let known = self.nodes.iter().position(|(above, last)| *above == parent && *last == Some(step));
        Node(known.unwrap_or_else(|| {
            self.nodes.push((parent, Some(step)));
            self.nodes.len() - 1
        }))
    }

    /// The node above and the step between; `None` for the root.
    pub(crate) fn last_step(&self, node: Node) -> Option<(Node, Transform)> {
        let (parent, step) = self.nodes.get(node.0)?;
        step.map(|step| (*parent, step))
    }

    /// Every node but the root, parents before children.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (Node, Node, Transform)> {
        self.nodes.iter().enumerate().filter_map(|(at, (parent, step))| step.map(|step| (Node(at), *parent, step)))
    }

    /// The longest that a value of that length can become; `None` when there is no telling.
    pub(crate) fn longest(&self, node: Node, length: usize) -> Option<usize> {
        let Some((parent, step)) = self.last_step(node) else { return Some(length) };
        let length = self.longest(parent, length)?;
        match step {
            Transform::Base64Decode | Transform::Base64DecodeExt => Some(length / 4 * 3 + 2),
            Transform::CmdLine
            | Transform::CompressWhitespace
            | Transform::CssDecode
            | Transform::HtmlEntityDecode
            | Transform::JsDecode
            | Transform::Lowercase
            | Transform::NormalizePath
            | Transform::NormalizePathWin
            | Transform::RemoveComments
            | Transform::RemoveCommentsChar
            | Transform::RemoveNulls
            | Transform::RemoveWhitespace
            | Transform::ReplaceComments
            | Transform::Trim
            | Transform::TrimLeft
            | Transform::TrimRight
            | Transform::Uppercase
            | Transform::UrlDecode
            | Transform::UrlDecodeUni => Some(length),
            _ => None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }
}
