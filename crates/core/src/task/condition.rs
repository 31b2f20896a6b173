//! Does a task want to hear of this event?
//!
//! A condition in CEL is a user's program that runs in the operator, so its cost is bounded before it
//! runs: 512 characters, little nesting, at most two loops.

use std::collections::BTreeMap;
use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr};
use cel::{Context, IdedExpr, Program, Value};

/// Longest expression; the schema has the same limit.
const LENGTH: usize = 512;
/// Deepest nesting of brackets: the parser descends with it.
const DEPTH: usize = 24;
/// Most macros that loop (`all`, `exists`, `map`, …).
const LOOPS: usize = 2;
/// Functions that may be called.
const FUNCTIONS: [&str; 11] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "int",
    "uint",
    "double",
    "string",
    "max",
    "min",
];

/// The variable that holds the event.
const EVENT: &str = "event";

/// A condition that was checked.
#[derive(Clone, Debug)]
pub struct Condition {
    text: String,
    /// Compiled once: a storm is a thousand evaluations.
    program: Arc<Program>,
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Condition {}

/// The fields of an event, as a condition sees them: the same ones for every event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    /// Texts by name.
    pub(super) texts: BTreeMap<&'static str, String>,
    /// `event.percent`.
    pub(super) percent: i64,
}

impl Condition {
    /// Checks the expression: it must be short, read nothing but an event, and be true or false.
    pub(super) fn parse(text: &str, sample: &Fields) -> Result<Self, String> {
        if text.chars().count() > LENGTH {
            return Err(format!("Is longer than {LENGTH} characters. Shorten it."));
        }
        if depth(text) > DEPTH {
            return Err(format!("Nests brackets deeper than {DEPTH}. Simplify it."));
        }
        let program = compile(text)?;
        check_use(&program)?;
        let condition = Self { text: text.to_owned(), program: Arc::new(program) };
        match condition.holds(sample) {
            Ok(_) => Ok(condition),
            Err(words) => Err(words),
        }
    }

    /// Is it true of this event? An error is a sentence.
    pub(super) fn holds(&self, fields: &Fields) -> Result<bool, String> {
        let mut event = serde_json::Map::new();
        for (name, text) in &fields.texts {
            event.insert((*name).to_owned(), text.as_str().into());
        }
        event.insert("percent".to_owned(), fields.percent.into());
        let mut context = Context::default();
        if let Err(error) = context.add_variable(EVENT, serde_json::Value::Object(event)) {
            return Err(format!("Cannot be evaluated: {error}. Correct it."));
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(_) => Err("Is not true or false. Compare something.".to_owned()),
            Err(error) => Err(format!("Cannot be evaluated: {error}. Correct it.")),
        }
    }
}

/// Does it read nothing but an event, call what it may, and end soon?
fn check_use(program: &Program) -> Result<(), String> {
    if loops(program.expression()) > LOOPS {
        return Err("Has more than two loops (all, exists, map, filter). Simplify it.".into());
    }
    let references = program.references();
    // Macros make variables of their own, whose names begin with an at sign or are bound.
    let bound = bound(program.expression());
    for variable in references.variables() {
        if variable != EVENT && !variable.starts_with('@') && !bound.contains(&variable) {
            return Err(format!("Reads {variable}; there is only the variable event. Correct it."));
        }
    }
    for function in references.functions() {
        let operator = !function.starts_with(|c: char| c.is_ascii_alphabetic());
        if !operator && !FUNCTIONS.contains(&function) {
            return Err(format!(
                "Calls {function}; there are {}. Correct it.",
                FUNCTIONS.join(", ")
            ));
        }
    }
    Ok(())
}

fn compile(text: &str) -> Result<Program, String> {
    Program::compile(text).map_err(|errors| {
        let words = errors.to_string();
        let first = words.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        format!("Cannot be read: {}. Correct it.", first.trim().trim_end_matches('.'))
    })
}

/// How deep brackets nest, apart from those in plain strings. Where a string may hold its own quotes
/// all of them count: too many is safe, too few is not.
fn depth(text: &str) -> usize {
    let odd = ["\\", "'''", "\"\"\""].iter().any(|odd| text.contains(odd));
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut quote = None;
    for letter in text.chars() {
        match (quote, letter) {
            (Some(begun), letter) if begun == letter => quote = None,
            (None, '\'' | '"') if !odd => quote = Some(letter),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (Some(_) | None, _) => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The parts of an expression.
fn parts(expression: &IdedExpr) -> Vec<&IdedExpr> {
    match &expression.expr {
        Expr::Call(call) => call.target.as_deref().into_iter().chain(call.args.iter()).collect(),
        Expr::Comprehension(c) => {
            vec![&c.iter_range, &c.accu_init, &c.loop_cond, &c.loop_step, &c.result]
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => of_entries(&map.entries),
        Expr::Struct(made) => of_entries(&made.entries),
        Expr::Select(select) => vec![&*select.operand],
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
    }
}

fn of_entries(entries: &[cel::common::ast::IdedEntryExpr]) -> Vec<&IdedExpr> {
    let parts = entries.iter().flat_map(|entry| match &entry.expr {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    });
    parts.collect()
}

fn loops(expression: &IdedExpr) -> usize {
    let own = usize::from(matches!(expression.expr, Expr::Comprehension(_)));
    own + parts(expression).into_iter().map(loops).sum::<usize>()
}

/// Variables that loops bind.
fn bound(expression: &IdedExpr) -> Vec<&str> {
    let mut names: Vec<&str> = parts(expression).into_iter().flat_map(bound).collect();
    if let Expr::Comprehension(c) = &expression.expr {
        names.push(&c.iter_var);
        names.push(&c.accu_var);
        names.extend(c.iter_var2.as_deref());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        let texts = [("type", "StoreDown"), ("cluster", "prod-a"), ("subject", "5"), ("from", "")];
        let texts = texts.into_iter().map(|(name, text)| (name, text.to_owned()));
        Fields { texts: texts.collect(), percent: 85 }
    }

    #[test]
    fn a_condition_is_true_or_false_of_an_event() {
        for (text, holds) in [
            ("true", true),
            ("event.type == 'StoreDown'", true),
            ("event.type == 'StoreBack'", false),
            ("event.percent >= 80 && event.cluster.startsWith('prod-')", true),
            ("event.cluster.matches('^test-')", false),
            ("['4', '5'].exists(id, id == event.subject)", true),
            ("size(event.from) > 0 || event.percent < 80", false),
            ("int(event.subject) == 5", true),
        ] {
            let condition = Condition::parse(text, &fields());
            let condition = condition.unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(condition.holds(&fields()), Ok(holds), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_said() {
        let deep = format!("{}true{}", "(".repeat(40), ")".repeat(40));
        let long = format!("'{}' == ''", "x".repeat(600));
        for (text, words) in [
            ("event.type ==", "read"),
            ("", "read"),
            ("1 + 1", "true or false"),
            ("event.nothing == ''", "evaluated"),
            ("store.id == '1'", "store"),
            ("launch(event.type)", "launch"),
            ("[1].all(a, [1].all(b, [1].all(c, true)))", "two loops"),
            (&deep, "deeper"),
            (&long, "longer"),
        ] {
            let sentence = Condition::parse(text, &fields()).expect_err(text);
            assert!(sentence.contains(words) && sentence.ends_with('.'), "{text}: {sentence}");
            assert!(!sentence.contains('\n'), "{sentence}");
        }
    }

    #[test]
    fn brackets_in_strings_nest_nothing() {
        let deep = "(".repeat(DEPTH + 1);
        let text = format!("event.detail.contains('{deep}')");
        assert_eq!(depth(&text), 1);
        assert_eq!(depth(&format!("\"{deep}\" + (1)")), 1);
        // Strings that may hold quotes hide nothing.
        for odd in [format!("r'\\'{deep}'"), format!("'''a'b'''{deep}")] {
            assert_eq!(depth(&odd), DEPTH + 1, "{odd}");
        }
    }
}
