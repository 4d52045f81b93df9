//! The parser: tokens to a [`Tree`], by recursive descent, expanding macros on the way.
//!
//! Words of syntax errors follow upstream's generated parser for the common mistakes. Nesting is limited, so neither
//! this nor what walks the tree later can run out of stack.

mod literal;
mod macros;

pub(crate) use macros::{MAP_INSERT, SORT_BY_KEYS};

use crate::ast::{Entry, Expr, Field, Id, Kind, Tree, op};
use crate::source::{Errors, Source};
use crate::token::{Token, TokenKind, tokens};
use crate::value::Val;

/// Longest expression, in characters.
const LONGEST: usize = 100_000;
/// Deepest nesting of one rule of the grammar.
const DEEPEST: usize = 250;

/// Words that cannot be variables, though they can be fields.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "package",
    "namespace",
    "null",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// What can begin an operand, as upstream lists it.
const OPERANDS: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, \
                        BYTES, IDENTIFIER}";

/// Operators by how tightly they bind, loosest first. `in` is a function of its own name.
const BINARY: &[&[(&str, &str)]] = &[
    &[("<", op::LT), ("<=", op::LE), (">", op::GT), (">=", op::GE), ("==", op::EQ), ("!=", op::NE), ("in", op::IN)],
    &[("+", op::ADD), ("-", op::SUB)],
    &[("*", op::MUL), ("/", op::DIV), ("%", op::REM)],
];

/// A syntax error has been reported; nothing more can be made of the text.
pub(crate) struct Stop;

/// Parses an expression. `None` after errors that leave no tree.
pub(crate) fn parse(source: &Source, errors: &mut Errors<'_>) -> Option<Tree> {
    if source.chars.len() > LONGEST {
        let size = source.chars.len();
        errors.nowhere(format!("expression code point size exceeds limit: size: {size}, limit {LONGEST}"));
        return None;
    }
    let tokens = tokens(source, errors);
    let mut parser = Parser { tokens, at: 0, errors, places: Vec::new(), nested: 0, depth: 0 };
    let root = parser.start().ok()?;
    let places = parser.places;
    Some(Tree { root, places })
}

struct Parser<'e, 's> {
    tokens: Vec<Token>,
    at: usize,
    errors: &'e mut Errors<'s>,
    places: Vec<usize>,
    /// Expressions within each other.
    nested: usize,
    /// Operators and selections within each other.
    depth: usize,
}

impl Parser<'_, '_> {
    fn token(&self) -> &Token {
        &self.tokens[self.at]
    }

    fn ahead(&self, n: usize) -> &Token {
        &self.tokens[(self.at + n).min(self.tokens.len() - 1)]
    }

    fn is(&self, symbol: &str) -> bool {
        self.token().kind == TokenKind::Symbol && self.token().text == symbol
    }

    fn take(&mut self) -> Token {
        let token = self.tokens[self.at].clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    /// Takes the symbol if it is next.
    fn eat(&mut self, symbol: &str) -> Option<Token> {
        self.is(symbol).then(|| self.take())
    }

    fn place(&mut self, offset: usize) -> Id {
        self.places.push(offset);
        self.places.len() - 1
    }

    fn node(&mut self, offset: usize, kind: Kind) -> Expr {
        Expr { id: self.place(offset), kind }
    }

    fn broken(&mut self, offset: usize, message: impl Into<String>) -> Expr {
        self.errors.at(offset, message);
        self.node(offset, Kind::Broken)
    }

    fn syntax(&mut self, message: &str) -> Stop {
        let start = self.token().start;
        self.errors.at(start, format!("Syntax error: {message}"));
        Stop
    }

    fn expected(&mut self, what: &str) -> Stop {
        let text = self.token().text.clone();
        self.syntax(&format!("mismatched input '{text}' expecting {what}"))
    }

    /// Takes a closing or separating symbol, or says that it is missing.
    fn require(&mut self, symbol: &str) -> Result<Token, Stop> {
        if let Some(token) = self.eat(symbol) {
            return Ok(token);
        }
        let text = self.token().text.clone();
        if symbol == ")" && self.token().kind == TokenKind::End {
            return Err(self.syntax(&format!("missing '{symbol}' at '{text}'")));
        }
        Err(self.expected(&format!("'{symbol}'")))
    }

    fn start(&mut self) -> Result<Expr, Stop> {
        let expr = self.expr()?;
        if self.token().kind == TokenKind::End {
            return Ok(expr);
        }
        let text = self.token().text.clone();
        let verb = if self.ahead(1).kind == TokenKind::End { "extraneous" } else { "mismatched" };
        Err(self.syntax(&format!("{verb} input '{text}' expecting <EOF>")))
    }

    /// `condition ? this : that`, or what binds tighter.
    fn expr(&mut self) -> Result<Expr, Stop> {
        self.nested += 1;
        if self.nested > DEEPEST {
            self.errors.nowhere(format!("expression recursion limit exceeded: {DEEPEST}"));
            return Err(Stop);
        }
        let condition = self.logic(op::OR)?;
        let expr = match self.eat("?") {
            None => condition,
            Some(question) => {
                let this = self.logic(op::OR)?;
                self.require(":")?;
                let that = self.expr()?;
                self.call(question.start, op::CONDITIONAL, vec![condition, this, that])
            }
        };
        self.nested -= 1;
        Ok(expr)
    }

    fn call(&mut self, offset: usize, function: &str, args: Vec<Expr>) -> Expr {
        self.node(offset, Kind::Call { function: function.to_owned(), target: None, args })
    }

    /// A chain of `||`, or of `&&` within.
    fn logic(&mut self, function: &str) -> Result<Expr, Stop> {
        let symbol = if function == op::OR { "||" } else { "&&" };
        let operand = |p: &mut Self| if function == op::OR { p.logic(op::AND) } else { p.binary(0) };
        let mut terms = vec![operand(self)?];
        let mut ops = Vec::new();
        while let Some(token) = self.eat(symbol) {
            ops.push(token.start);
            terms.push(operand(self)?);
        }
        let mut terms = terms.into_iter();
        Ok(self.balance(function, &ops, &mut terms))
    }

    /// Halves a chain of one operator again and again, so that long chains do not nest deeply.
    fn balance(&mut self, function: &str, ops: &[usize], terms: &mut impl Iterator<Item = Expr>) -> Expr {
        if ops.is_empty() {
            return terms.next().expect("chains have one term more than operators");
        }
        let middle = ops.len() / 2;
        let left = self.balance(function, &ops[..middle], terms);
        let right = self.balance(function, &ops[middle + 1..], terms);
        self.call(ops[middle], function, vec![left, right])
    }

    /// Operators that associate to the left, from one level of [`BINARY`] on.
    fn binary(&mut self, level: usize) -> Result<Expr, Stop> {
        let Some(row) = BINARY.get(level) else { return self.unary() };
        let entered = self.depth;
        let mut left = self.binary(level + 1)?;
        while let Some((_, function)) = row.iter().find(|(symbol, _)| self.is(symbol)) {
            let token = self.take();
            self.deepen()?;
            let right = self.binary(level + 1)?;
            left = self.call(token.start, function, vec![left, right]);
        }
        self.depth = entered;
        Ok(left)
    }

    fn deepen(&mut self) -> Result<(), Stop> {
        self.depth += 1;
        if self.depth > DEEPEST {
            self.errors.nowhere(format!("expression recursion limit exceeded: {DEEPEST}"));
            return Err(Stop);
        }
        Ok(())
    }

    fn unary(&mut self) -> Result<Expr, Stop> {
        let is_number = |t: &Token| matches!(t.kind, TokenKind::Int | TokenKind::Float);
        for (symbol, function) in [("!", op::NOT), ("-", op::NEG)] {
            if !self.is(symbol) || (symbol == "-" && is_number(self.ahead(1))) {
                continue;
            }
            let first = self.token().start;
            let mut times = 0;
            while self.eat(symbol).is_some() {
                times += 1;
            }
            let operand = self.member()?;
            return Ok(if times % 2 == 0 { operand } else { self.call(first, function, vec![operand]) });
        }
        self.member()
    }

    /// An operand with the selections, calls and indices behind it.
    fn member(&mut self) -> Result<Expr, Stop> {
        let entered = self.depth;
        let mut expr = self.primary()?;
        loop {
            if let Some(dot) = self.eat(".") {
                self.deepen()?;
                expr = self.select(dot.start, expr)?;
            } else if let Some(open) = self.eat("[") {
                self.deepen()?;
                let function = if self.eat("?").is_some() { op::OPT_INDEX } else { op::INDEX };
                let index = self.expr()?;
                self.require("]")?;
                expr = self.call(open.start, function, vec![expr, index]);
            } else {
                self.depth = entered;
                return Ok(expr);
            }
        }
    }

    fn select(&mut self, dot: usize, operand: Expr) -> Result<Expr, Stop> {
        let optional = self.eat("?").is_some();
        let name = self.take();
        match name.kind {
            TokenKind::Ident => {}
            TokenKind::Quoted => return Ok(self.broken(dot, "unsupported syntax: '`'")),
            _ => {
                self.at -= usize::from(name.kind != TokenKind::End);
                return Err(match name.kind {
                    TokenKind::True | TokenKind::False | TokenKind::Null => self.expected("IDENTIFIER"),
                    _ => self.syntax(&format!("no viable alternative at input '.{}'", name.text)),
                });
            }
        }
        if optional {
            let field = self.node(name.start, Kind::Literal(Val::from(name.text)));
            return Ok(self.call(dot, op::OPT_SELECT, vec![operand, field]));
        }
        if let Some(open) = self.eat("(") {
            let args = self.args()?;
            return Ok(self.invoke(open.start, name.text, Some(operand), args));
        }
        Ok(self.node(dot, Kind::Select { operand: Box::new(operand), field: name.text, test: false }))
    }

    /// Arguments and the closing bracket.
    fn args(&mut self) -> Result<Vec<Expr>, Stop> {
        let mut args = Vec::new();
        if self.eat(")").is_some() {
            return Ok(args);
        }
        loop {
            args.push(self.expr()?);
            if self.eat(",").is_none() {
                self.require(")")?;
                return Ok(args);
            }
        }
    }

    fn primary(&mut self) -> Result<Expr, Stop> {
        let token = self.token().clone();
        match token.kind {
            TokenKind::Ident => self.name(None),
            TokenKind::Symbol => match token.text.as_str() {
                "." if self.ahead(1).kind == TokenKind::Ident => {
                    self.take();
                    self.name(Some(token.start))
                }
                "(" => {
                    self.take();
                    let inner = self.expr()?;
                    self.require(")")?;
                    Ok(inner)
                }
                "[" => self.list(),
                "{" => self.map(),
                "-" => {
                    self.take();
                    let number = self.take();
                    Ok(self.number(&number, Some(token.start)))
                }
                _ => Err(self.unfit()),
            },
            TokenKind::Quoted | TokenKind::End => Err(self.unfit()),
            _ => {
                self.take();
                Ok(self.literal(&token))
            }
        }
    }

    /// What stands here begins no operand.
    fn unfit(&mut self) -> Stop {
        self.expected(OPERANDS)
    }

    fn literal(&mut self, token: &Token) -> Expr {
        let value = match token.kind {
            TokenKind::True => Ok(Val::Bool(true)),
            TokenKind::False => Ok(Val::Bool(false)),
            TokenKind::Null => Ok(Val::Null),
            TokenKind::String => literal::string(&token.text).map(Val::from),
            TokenKind::Bytes => literal::bytes(&token.text).map(|b| Val::Bytes(b.into())),
            _ => return self.number(token, None),
        };
        match value {
            Ok(value) => self.node(token.start, Kind::Literal(value)),
            Err(message) => self.broken(token.start, message),
        }
    }

    /// A number, with the place of the sign before it.
    fn number(&mut self, token: &Token, sign: Option<usize>) -> Expr {
        let negative = sign.is_some();
        let (value, kind) = match token.kind {
            TokenKind::Int => (literal::int(&token.text, negative), "int"),
            TokenKind::Uint => (literal::uint(&token.text), "uint"),
            _ => (literal::float(&token.text, negative), "double"),
        };
        let start = sign.unwrap_or(token.start);
        match value {
            Some(value) => self.node(start, Kind::Literal(value)),
            None => self.broken(start, format!("invalid {kind} literal")),
        }
    }

    /// A variable, a call, or an object literal; `dot` is the place of a dot before it.
    fn name(&mut self, dot: Option<usize>) -> Result<Expr, Stop> {
        if let Some(braces) = self.object_ahead() {
            return self.object(dot.is_some(), braces);
        }
        let token = self.take();
        let start = dot.unwrap_or(token.start);
        let name = if dot.is_some() { format!(".{}", token.text) } else { token.text.clone() };
        let reserved = RESERVED.contains(&token.text.as_str());
        if let Some(open) = self.eat("(") {
            let args = self.args()?;
            if reserved {
                return Ok(self.broken(start, format!("reserved identifier: {}", token.text)));
            }
            return Ok(self.invoke(open.start, name, None, args));
        }
        if reserved {
            return Ok(self.broken(start, format!("reserved identifier: {}", token.text)));
        }
        Ok(self.node(token.start, Kind::Ident(name)))
    }

    /// How many tokens `a.b.c` before a `{` takes, if that is what stands here.
    fn object_ahead(&self) -> Option<usize> {
        let is = |t: &Token, symbol: &str| t.kind == TokenKind::Symbol && t.text == symbol;
        let mut n = 1;
        while is(self.ahead(n), ".") && self.ahead(n + 1).kind == TokenKind::Ident {
            n += 2;
        }
        is(self.ahead(n), "{").then_some(n)
    }

    fn object(&mut self, dot: bool, words: usize) -> Result<Expr, Stop> {
        let mut name = String::from(if dot { "." } else { "" });
        for _ in 0..words {
            name.push_str(&self.take().text);
        }
        let open = self.take();
        let mut fields = Vec::new();
        while self.eat("}").is_none() {
            let optional = self.eat("?").is_some();
            let field = self.take();
            if field.kind != TokenKind::Ident {
                self.at -= usize::from(field.kind != TokenKind::End);
                return Err(self.expected("{'?', IDENTIFIER, ESC_IDENTIFIER}"));
            }
            let colon = self.require(":")?;
            let value = self.expr()?;
            let id = self.place(colon.start);
            fields.push(Field { id, name: field.text, value, optional });
            self.separator("}")?;
        }
        Ok(self.node(open.start, Kind::Struct { name, fields }))
    }

    fn list(&mut self) -> Result<Expr, Stop> {
        let open = self.take();
        let (mut elements, mut optional) = (Vec::new(), Vec::new());
        while self.eat("]").is_none() {
            optional.push(self.eat("?").is_some());
            elements.push(self.expr()?);
            self.separator("]")?;
        }
        Ok(self.node(open.start, Kind::List { elements, optional }))
    }

    fn map(&mut self) -> Result<Expr, Stop> {
        let open = self.take();
        let mut entries = Vec::new();
        while self.eat("}").is_none() {
            let optional = self.eat("?").is_some();
            let key = self.expr()?;
            self.require(":")?;
            let value = self.expr()?;
            entries.push(Entry { key, value, optional });
            self.separator("}")?;
        }
        Ok(self.node(open.start, Kind::Map(entries)))
    }

    /// A comma, or the closing bracket ahead (which stays).
    fn separator(&mut self, close: &str) -> Result<(), Stop> {
        if self.eat(",").is_some() || self.is(close) {
            return Ok(());
        }
        Err(self.expected(&format!("{{'{close}', ','}}")))
    }

    /// A call, or what the macro of that name expands to.
    fn invoke(&mut self, open: usize, function: String, target: Option<Expr>, args: Vec<Expr>) -> Expr {
        match macros::find(&function, args.len(), target.is_some()) {
            Some(expand) => {
                let mut maker = macros::Maker { places: &mut self.places, offset: open };
                match expand(&mut maker, target, args) {
                    Ok(expr) => expr,
                    Err((id, message)) => {
                        let offset = self.places[id];
                        self.broken(offset, message)
                    }
                }
            }
            None => self.node(open, Kind::Call { function, target: target.map(Box::new), args }),
        }
    }
}
