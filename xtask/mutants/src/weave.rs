//! How can one program be all changed programs?
//!
//! A mutant is compiled and then judged, and compiling takes most of the time. So all changes are woven
//! into one text, each behind a question for its number: `a < b` becomes an expression that is `a <= b` if
//! number 17 is on, `a == b` if number 18 is. What is compiled once is judged a thousand times.
//!
//! An operator is exchanged between the operands that it has: of `a && b && c` the first becomes
//! `(a || b) && c`.

#![allow(clippy::wildcard_enum_match_arm, reason = "the syntax of Rust grows")]

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context as _, Result};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr};

use crate::edits::{Edited, Edits, Id, Piece};
use crate::mutant::{Genre, Mutant, Place};

/// The module in which the number that is on is asked for.
pub(crate) const SWITCH: &str = r#"
/// Which change is on?
#[doc(hidden)]
pub mod woven {
    /// Its number, or 0.
    pub fn now() -> usize {
        static NOW: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
        *NOW.get_or_init(|| {
            std::env::var("MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
        })
    }

    /// Is it this one?
    pub fn on(id: usize) -> bool {
        now() == id
    }
}
"#;

/// A text with its changes.
#[derive(Debug)]
pub(crate) struct Woven {
    pub(crate) edited: Edited,
    /// Changes for which there is no such expression; each has to be compiled on its own.
    pub(crate) left: Vec<Id>,
}

/// Weaves these changes into the text of their file.
pub(crate) fn weave(text: &str, mutants: &[(Id, &Mutant)]) -> Result<Woven> {
    let file = syn::parse_file(text).context("not Rust")?;
    let mut weaver = Weaver { text, at: BTreeMap::new(), edits: Edits::default() };
    for (id, mutant) in mutants {
        let key = (mutant.span.start, order(mutant.genre));
        weaver.at.entry(key).or_default().push((*id, mutant));
    }
    weaver.visit_file(&file);
    let left = weaver.at.into_values().flatten().map(|(id, _)| id).collect();
    Ok(Woven { edited: weaver.edits.apply(text), left })
}

/// Different genres begin at the same place.
fn order(genre: Genre) -> u8 {
    genre as u8
}

struct Weaver<'a> {
    text: &'a str,
    /// Not woven yet, by place and genre.
    at: BTreeMap<(Place, u8), Vec<(Id, &'a Mutant)>>,
    edits: Edits,
}

type Found<'a> = Vec<(Id, &'a Mutant)>;

impl<'a> Weaver<'a> {
    /// The changes of a genre that begin where something begins.
    fn take(&mut self, span: proc_macro2::Span, genre: Genre) -> Found<'a> {
        let start = span.start();
        let place = Place { line: start.line, column: start.column + 1 };
        self.at.remove(&(place, order(genre))).unwrap_or_default()
    }

    fn old(&self, range: Range<usize>) -> &'a str {
        self.text.get(range).unwrap_or_default()
    }

    /// It cannot be woven after all.
    fn give_back(&mut self, found: Found<'a>) {
        for (id, mutant) in found {
            self.at.entry((mutant.span.start, order(mutant.genre))).or_default().push((id, mutant));
        }
    }

    /// What a function is, if one of its changes is on.
    fn body(&mut self, block: &syn::Block) {
        let [Some(first), Some(last)] = [block.stmts.first(), block.stmts.last()] else { return };
        let (at, end) = (first.span().byte_range().start, last.span().byte_range().end);
        for (id, mutant) in self.take(first.span(), Genre::FnValue) {
            if mutant.is_woven_as_it_is() {
                let value = &mutant.replacement;
                let text = format!("if crate::woven::on({id}) {{ return {value}; }} ");
                self.edits.before(at, Piece::new(text, &[id]));
            } else if mutant.replacement == "::std::iter::empty()" {
                // Another type than the one that is returned, but one of which nothing is taken.
                self.edits.whole(at..end, &[id]);
                self.edits.before(at, Piece::new("({ ", &[]));
                let most = format!("if crate::woven::on({id}) {{ 0 }} else {{ usize::MAX }}");
                self.edits.behind(end, vec![Piece::new(format!(" }}).take({most})"), &[])]);
            } else {
                self.give_back(vec![(id, mutant)]);
            }
        }
    }

    /// `left` and `right` are looked at where they are, as the operator does.
    fn compare(&mut self, node: &syn::ExprBinary, found: &Found<'_>) {
        let (left, right) = (node.left.span().byte_range(), node.right.span().byte_range());
        let operator = node.op.span().byte_range();
        let ids = ids(found);
        let arm = |operator: &str| format!("*left {operator} *right,");
        let mut behind = vec![Piece::new(")) { (left, right) => match crate::woven::now() {", &[])];
        behind.extend(arms(found, arm));
        let last = format!("_ => {} }} }})", arm(self.old(operator.clone())));
        behind.push(Piece::new(last, &[]));
        self.edits.whole(left.start..right.end, &ids);
        self.edits.before(left.start, Piece::new("(match (&(", &[]));
        self.edits.behind(left.end, vec![Piece::new("), &(", &[])]);
        self.edits.gone(&operator);
        self.edits.behind(right.end, behind);
    }

    fn calculate(&mut self, node: &syn::ExprBinary, found: &Found<'_>) {
        let (left, right) = (node.left.span().byte_range(), node.right.span().byte_range());
        let operator = node.op.span().byte_range();
        let ids = ids(found);
        let arm = |operator: &str| format!("left {operator} right,");
        let mut behind = vec![Piece::new(")) { (left, right) => match crate::woven::now() {", &[])];
        behind.extend(arms(found, arm));
        let last = format!("_ => {} }} }})", arm(self.old(operator.clone())));
        behind.push(Piece::new(last, &[]));
        self.edits.whole(left.start..right.end, &ids);
        self.edits.before(left.start, Piece::new("(match ((", &[]));
        self.edits.behind(left.end, vec![Piece::new("), (", &[])]);
        self.edits.gone(&operator);
        self.edits.behind(right.end, behind);
    }

    fn assign(&mut self, node: &syn::ExprBinary, found: &Found<'_>) {
        let (left, right) = (node.left.span().byte_range(), node.right.span().byte_range());
        let place = self.old(left.clone());
        let arm = |operator: &str| format!("{place} {operator} right,");
        let mut behind = vec![Piece::new(") { right => match crate::woven::now() {", &[])];
        behind.extend(arms(found, arm));
        let last = format!("_ => {} }} }})", arm(self.old(node.op.span().byte_range())));
        behind.push(Piece::new(last, &[]));
        self.edits.whole(left.start..right.end, &ids(found));
        self.edits.gone(&(left.start..right.start));
        self.edits.behind(right.start, vec![Piece::new("(match (", &[])]);
        self.edits.behind(right.end, behind);
    }

    /// The right side is asked only if the left side does not decide, and its own switch decides how
    /// the left side does.
    fn connect(&mut self, node: &syn::ExprBinary, id: Id) {
        let (left, right) = (node.left.span().byte_range(), node.right.span().byte_range());
        let (sign, end) = match node.op {
            BinOp::And(_) => ("!=", format!(" }} else {{ crate::woven::on({id}) }})")),
            _ => ("==", format!(" }} else {{ !crate::woven::on({id}) }})")),
        };
        self.edits.whole(left.start..right.end, &[id]);
        self.edits.before(left.start, Piece::new("(if (", &[]));
        let middle = format!(") {sign} crate::woven::on({id}) {{ ");
        self.edits.behind(left.end, vec![Piece::new(middle, &[])]);
        self.edits.gone(&node.op.span().byte_range());
        self.edits.behind(right.end, vec![Piece::new(end, &[])]);
    }

    fn guard(&mut self, guard: &Expr) {
        let found = self.take(guard.span(), Genre::MatchArmGuard);
        if found.is_empty() {
            return;
        }
        if has_let(guard) {
            return self.give_back(found);
        }
        let range = guard.span().byte_range();
        let word = |(id, mutant): &(Id, &Mutant)| match &*mutant.replacement {
            "true" => format!("crate::woven::on({id}) || "),
            _ => format!("!crate::woven::on({id}) && "),
        };
        let words = found.iter().map(word).collect::<Vec<String>>().concat();
        self.edits.whole(range.clone(), &ids(&found));
        self.edits.before(range.start, Piece::new(words + "(", &[]));
        self.edits.behind(range.end, vec![Piece::new(")", &[])]);
    }
}

fn ids(found: &Found<'_>) -> Vec<Id> {
    found.iter().map(|(id, _)| *id).collect()
}

/// One arm for each change: what the expression is with its operator.
fn arms(found: &Found<'_>, arm: impl Fn(&str) -> String) -> Vec<Piece> {
    let arm = |(id, mutant): &(Id, &Mutant)| {
        Piece::new(format!("{id} => {}", arm(&mutant.replacement)), &[*id])
    };
    found.iter().map(arm).collect()
}

/// Does a chain of conditions bind a name? Only `&&` may stand between such.
fn has_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(node) if matches!(node.op, BinOp::And(_)) => {
            has_let(&node.left) || has_let(&node.right)
        }
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Weaver<'_> {
    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        if node.sig.constness.is_none() {
            self.body(&node.block);
            visit::visit_item_fn(self, node);
        }
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        if node.sig.constness.is_none() {
            self.body(&node.block);
            visit::visit_impl_item_fn(self, node);
        }
    }

    fn visit_trait_item_fn(&mut self, node: &'ast syn::TraitItemFn) {
        if let Some(block) = &node.default {
            self.body(block);
        }
        visit::visit_trait_item_fn(self, node);
    }

    /// Constants are computed when the program is compiled: no switch is there yet.
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}

    fn visit_expr_binary(&mut self, node: &'ast syn::ExprBinary) {
        let found = self.take(node.op.span(), Genre::BinaryOperator);
        match (node.op, found.first()) {
            (_, None) => {}
            (BinOp::And(_) | BinOp::Or(_), Some((id, _))) => {
                if has_let(&node.left) || has_let(&node.right) {
                    self.give_back(found);
                } else {
                    self.connect(node, *id);
                }
            }
            (
                BinOp::Eq(_)
                | BinOp::Ne(_)
                | BinOp::Lt(_)
                | BinOp::Le(_)
                | BinOp::Gt(_)
                | BinOp::Ge(_),
                Some(_),
            ) => self.compare(node, &found),
            (
                BinOp::Add(_)
                | BinOp::Sub(_)
                | BinOp::Mul(_)
                | BinOp::Div(_)
                | BinOp::Rem(_)
                | BinOp::BitAnd(_)
                | BinOp::BitOr(_)
                | BinOp::BitXor(_)
                | BinOp::Shl(_)
                | BinOp::Shr(_),
                Some(_),
            ) => self.calculate(node, &found),
            (_, Some(_)) => self.assign(node, &found),
        }
        visit::visit_expr_binary(self, node);
    }

    fn visit_expr_unary(&mut self, node: &'ast syn::ExprUnary) {
        if let Some((id, _)) = self.take(node.op.span(), Genre::UnaryOperator).first() {
            let (operator, operand) = (node.op.span().byte_range(), node.expr.span().byte_range());
            self.edits.whole(operator.start..operand.end, &[*id]);
            self.edits.gone(&operator);
            self.edits.before(operand.start, Piece::new("(match (", &[]));
            let sign = self.old(operator);
            let end = format!(
                ") {{ operand => if crate::woven::on({id}) {{ operand }} else {{ {sign}operand }} }})"
            );
            self.edits.behind(operand.end, vec![Piece::new(end, &[])]);
        }
        visit::visit_expr_unary(self, node);
    }

    fn visit_expr_match(&mut self, node: &'ast syn::ExprMatch) {
        let takes_all =
            |arm: &syn::Arm| matches!(arm.pat, syn::Pat::Wild(_)) && arm.guard.is_none();
        // An arm that may be closed must have one behind it that is open to what it has let through.
        let open = node.arms.iter().any(takes_all);
        for arm in &node.arms {
            if open && let Some((id, _)) = self.take(arm.span(), Genre::MatchArm).first() {
                let end = arm.pat.span().byte_range().end;
                let text = format!(" if !crate::woven::on({id})");
                self.edits.behind(end, vec![Piece::new(text, &[*id])]);
            }
            if let Some((_, guard)) = &arm.guard {
                self.guard(guard);
            }
        }
        visit::visit_expr_match(self, node);
    }

    fn visit_expr_struct(&mut self, node: &'ast syn::ExprStruct) {
        for field in &node.fields {
            let found = self.take(field.span(), Genre::StructField);
            let (Some((id, _)), Some(rest), syn::Member::Named(name)) =
                (found.first(), &node.rest, &field.member)
            else {
                continue;
            };
            let range = field.expr.span().byte_range();
            let path = self.old(node.path.span().byte_range());
            let base = self.old(rest.span().byte_range());
            // What is made for this expression can be taken, a variable is still needed.
            let base = match &**rest {
                Expr::Path(_) => format!("Clone::clone(&{base})"),
                _ => base.to_owned(),
            };
            let colon =
                if field.colon_token.is_none() { format!("{name}: ") } else { String::new() };
            let text = format!(
                "{colon}(if crate::woven::on({id}) {{ let base: {path} = {base}; base.{name} }} else {{ "
            );
            self.edits.whole(range.clone(), &[*id]);
            self.edits.before(range.start, Piece::new(text, &[*id]));
            self.edits.behind(range.end, vec![Piece::new(" })", &[])]);
        }
        visit::visit_expr_struct(self, node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutant::tests::at;

    /// The text with a change of this genre at each mark `^` of the second line of it.
    fn woven(line: &str, marks: &str, genre: Genre, replacement: &str) -> (String, Vec<Id>) {
        let text = format!("fn f() -> bool {{\n{line}\n}}\n");
        let columns = marks.char_indices().filter(|(_, mark)| *mark == '^').map(|(at, _)| at + 1);
        let mutants: Vec<Mutant> = columns
            .map(|column| {
                let place = |column| Place { line: 2, column };
                at(place(column), place(column + 1), genre, replacement)
            })
            .collect();
        let numbered: Vec<(Id, &Mutant)> = (1..).zip(&mutants).collect();
        let woven = weave(&text, &numbered).unwrap();
        syn::parse_file(&woven.edited.text).expect(&woven.edited.text);
        let new = woven.edited.text.lines().nth(1).unwrap().to_owned();
        let words: Vec<&str> = new.split_whitespace().collect();
        (words.join(" ").replace("crate::woven::", ""), woven.left)
    }

    #[test]
    fn an_operator_is_exchanged_between_its_operands() {
        let (text, _) = woven("a < b", "  ^", Genre::BinaryOperator, "<=");
        let arms = "{ (left, right) => match now() {1 => *left <= *right,_ => *left < *right, } })";
        assert_eq!(text, format!("(match (&(a), &( b)) {arms}"));
        let (text, _) = woven("a && b && c", "  ^    ^", Genre::BinaryOperator, "||");
        let inner = "(if (a) != on(1) { b } else { on(1) })";
        assert_eq!(text, format!("(if ({inner}) != on(2) {{ c }} else {{ on(2) }})"));
        let (text, _) = woven("a || b", "  ^", Genre::BinaryOperator, "&&");
        assert_eq!(text, "(if (a) == on(1) { b } else { !on(1) })");
        let (text, _) = woven("a += b", "  ^", Genre::BinaryOperator, "-=");
        let arms = "{ right => match now() {1 => a -= right,_ => a += right, } })";
        assert_eq!(text, format!("(match (b) {arms}"));
        let (text, _) = woven("!a.b()", "^", Genre::UnaryOperator, "");
        assert_eq!(text, "(match (a.b()) { operand => if on(1) { operand } else { !operand } })");
    }

    #[test]
    fn bodies_arms_guards_and_fields_have_a_switch() {
        let (text, _) = woven("a", "^", Genre::FnValue, "true");
        assert_eq!(text, "if on(1) { return true; } a");
        let line = "match a { 1 => b, _ if c || d => e, _ => f }";
        let (text, _) = woven(line, "          ^", Genre::MatchArm, "");
        assert_eq!(text, "match a { 1 if !on(1) => b, _ if c || d => e, _ => f }");
        let (text, _) = woven(line, "                       ^", Genre::MatchArmGuard, "false");
        assert_eq!(text, "match a { 1 => b, _ if !on(1) && (c || d) => e, _ => f }");
        let (text, _) = woven("A { b, ..c() }", "    ^", Genre::StructField, "");
        assert_eq!(text, "A { b: (if on(1) { let base: A = c(); base.b } else { b }), ..c() }");
    }

    #[test]
    fn what_binds_a_name_is_left_to_the_compiler() {
        let line = "if a && let Some(b) = c { d } else { e }";
        let (text, left) = woven(line, "     ^", Genre::BinaryOperator, "||");
        assert_eq!((&*text, &*left), (line, &[1][..]));
    }
}
