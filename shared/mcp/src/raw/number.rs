//! Numbers as ECMAScript prints them (ECMA-262 `Number::toString`, as RFC 8785 section 3.2.2.3 requires).

/// A decimal value: `0.d1d2d3… × 10^point`, without leading and trailing zeros; zero has no digits and point 0.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: String,
    point: i64,
}

/// The canonical text of a JSON number, or `None` when a double cannot hold its value.
///
/// "Hold" means that the shortest decimal which reads back as the nearest double equals the number written; so `0.1`
/// and `1e23` pass and 12345678901234567890 does not. No two different values get one text.
pub(super) fn canonical(token: &str) -> Option<String> {
    let value: f64 = token.parse().ok()?;
    if !value.is_finite() {
        return None;
    }
    let shortest = shortest(value)?;
    (shortest == decimal(token)?).then(|| layout(&shortest))
}

/// The shortest digits that read back as the same double; of two equally near, the even ones.
fn shortest(value: f64) -> Option<Decimal> {
    /// Below this many digits no double lies exactly between two decimals that both read back as it.
    const TIES_FROM: usize = 15;
    let shortest = decimal(&format!("{value:e}"))?;
    if shortest.digits.len() < TIES_FROM {
        return Some(shortest);
    }
    // `{:e}` breaks ties upwards and ECMAScript to even, as formatting with a precision does.
    let nearest = format!("{value:.*e}", shortest.digits.len() - 1);
    if nearest.parse() == Ok(value) { decimal(&nearest) } else { Some(shortest) }
}

/// Whether two texts are JSON numbers of the same value.
pub(crate) fn same(a: &str, b: &str) -> bool {
    let parsed = |text: &str| if crate::scan::is_number(text) { decimal(text) } else { None };
    parsed(a).is_some_and(|a| Some(a) == parsed(b))
}

fn decimal(token: &str) -> Option<Decimal> {
    let (negative, unsigned) = match token.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, token),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (unsigned.get(..at)?, unsigned.get(at + 1..)?),
        None => (unsigned, ""),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = String::with_capacity(whole.len() + fraction.len());
    digits.push_str(whole);
    digits.push_str(fraction);
    let leading = digits.len() - digits.trim_start_matches('0').len();
    digits.drain(..leading);
    digits.truncate(digits.trim_end_matches('0').len());
    if digits.is_empty() {
        // Minus zero prints as "0".
        return Some(Decimal { negative: false, digits, point: 0 });
    }
    // An exponent too long for an i64 cannot belong to a finite double other than zero.
    let exponent: i64 =
        if exponent.is_empty() { 0 } else { exponent.trim_start_matches('+').parse().ok()? };
    let point =
        exponent.checked_add(i64::try_from(whole.len()).ok()?)?.checked_sub(i64::try_from(leading).ok()?)?;
    Some(Decimal { negative, digits, point })
}

/// ECMA-262 `Number::toString`, steps 6 to 12, with `n` = `point` and `k` = number of digits.
fn layout(decimal: &Decimal) -> String {
    let Decimal { negative, digits, point } = decimal;
    let count = i64::try_from(digits.len()).unwrap_or(i64::MAX);
    if count == 0 {
        return "0".to_owned();
    }
    let sign = if *negative { "-" } else { "" };
    let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or(0));
    match *point {
        n if count <= n && n <= 21 => format!("{sign}{digits}{}", zeros(n - count)),
        n if 0 < n && n <= 21 => {
            let (whole, fraction) = digits.split_at(usize::try_from(n).unwrap_or(0));
            format!("{sign}{whole}.{fraction}")
        }
        n if -6 < n && n <= 0 => format!("{sign}0.{}{digits}", zeros(-n)),
        n => {
            let (first, rest) = digits.split_at(1);
            let dot = if rest.is_empty() { "" } else { "." };
            let exponent = n - 1;
            let plus = if exponent < 0 { "" } else { "+" };
            format!("{sign}{first}{dot}{rest}e{plus}{exponent}")
        }
    }
}
