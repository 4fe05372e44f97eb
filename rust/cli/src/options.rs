//! The words of `mpibind run`.

use std::ffi::OsString;
use std::num::IntErrorKind;
use std::path::PathBuf;

use lexopt::{Arg, Parser};
use mpibind_core::quoted;
use mpibind_core::settings::Given;

use crate::Failure;

/// What `mpibind run` is asked for.
#[derive(Debug)]
pub(crate) struct Options {
    /// Tasks on this node, if the user says it.
    pub(crate) ntasks: Option<i64>,
    /// Which of them this is.
    pub(crate) local_rank: Option<i64>,
    /// hwloc's XML of this node.
    pub(crate) topology: Option<PathBuf>,
    pub(crate) given: Given,
    /// All other options as they were written.
    pub(crate) rest: Vec<OsString>,
    /// The program and its arguments; the first is not empty.
    pub(crate) program: Vec<OsString>,
}

/// Reads the words after `mpibind run`; None if help is asked for.
pub(crate) fn read(words: Vec<OsString>) -> Result<Option<Options>, Failure> {
    let mut parser = Parser::from_args(words);
    let mut options = Options {
        ntasks: None,
        local_rank: None,
        topology: None,
        given: Given { apply: true, env: true, omp_affinity: true, ..Given::default() },
        rest: Vec::new(),
        program: Vec::new(),
    };
    while let Some(argument) = parser.next()? {
        let name = match argument {
            Arg::Value(program) => {
                options.program.push(program);
                options.program.extend(parser.raw_args()?);
                break;
            }
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Short(letter) => format!("-{letter}"),
            Arg::Long(name) => format!("--{name}"),
        };
        options.take(&name, &mut parser)?;
    }
    if options.program.first().is_none_or(|name| name.is_empty()) {
        return Err(Failure::Usage(
            "say which program to run, such as `mpibind run -- ./app`".into(),
        ));
    }
    Ok(Some(options))
}

/// All options, for those that are nearly one of them.
const NAMES: [&str; 26] = [
    "--ntasks",
    "--local-rank",
    "--topology",
    "--nthreads",
    "--smt",
    "--greedy",
    "--no-greedy",
    "--gpu-optim",
    "--no-gpu-optim",
    "--no-gpu",
    "--restrict-ids",
    "--restrict",
    "--restrict-type",
    "--gpu-ids",
    "--visible",
    "--nics",
    "--no-nics",
    "--respect",
    "--membind",
    "--omp-affinity",
    "--no-omp-affinity",
    "--verbose",
    "--help",
    "-n",
    "-v",
    "-h",
];

impl Options {
    /// Takes one option, and its value if it has one.
    fn take(&mut self, name: &str, parser: &mut Parser) -> Result<(), Failure> {
        let mut values = Values { name, parser, rest: &mut self.rest };
        let given = &mut self.given;
        match name {
            "-n" | "--ntasks" => {
                self.ntasks = Some(number("-n/--ntasks", &values.parser.value()?)?);
                return Ok(());
            }
            "--local-rank" => self.local_rank = Some(values.number()?),
            "--topology" => self.topology = Some(values.next()?.into()),
            "--nthreads" => given.nthreads = values.number()?,
            "--smt" => given.smt = Some(values.number()?),
            "--restrict-ids" | "--restrict" => given.restrict_ids = Some(values.text()?),
            "--restrict-type" => given.restrict_type = Some(values.text()?),
            "--gpu-ids" => given.gpu_ids = Some(values.text()?),
            "--visible" => given.visible = Some(values.text()?),
            "--respect" => given.respect = Some(values.text()?),
            "--membind" => given.membind = Some(values.text()?),
            "--greedy" | "--no-greedy" => given.greedy = Some(values.flag()),
            "--gpu-optim" | "--no-gpu-optim" | "--no-gpu" => {
                given.gpu_optim = Some(values.flag());
            }
            "--nics" | "--no-nics" => given.nics = Some(values.flag()),
            "--omp-affinity" | "--no-omp-affinity" => given.omp_affinity = values.flag(),
            "-v" | "--verbose" => {
                values.flag();
                given.verbose = Some(given.verbose.unwrap_or(0) + 1);
            }
            _ => {
                let nearest = NAMES.into_iter().map(|known| (strsim::jaro(name, known), known));
                let nearest = nearest.max_by(|a, b| a.0.total_cmp(&b.0));
                let hint = match nearest {
                    Some((likeness, known)) if likeness > 0.7 => {
                        format!("; did you mean {known}?")
                    }
                    _ => String::new(),
                };
                return Err(Failure::Usage(format!("there is no option {name}{hint}")));
            }
        }
        Ok(())
    }
}

/// What follows an option, noted as it is taken.
struct Values<'a> {
    name: &'a str,
    parser: &'a mut Parser,
    rest: &'a mut Vec<OsString>,
}

impl Values<'_> {
    fn next(&mut self) -> Result<OsString, Failure> {
        let value = self.parser.value()?;
        self.rest.extend([self.name.into(), value.clone()]);
        Ok(value)
    }

    fn number(&mut self) -> Result<i64, Failure> {
        number(self.name, &self.next()?)
    }

    fn text(&mut self) -> Result<String, Failure> {
        self.next()?.into_string().map_err(|value| {
            let shown = quoted(&value.to_string_lossy());
            Failure::Usage(format!("{}: {shown} is not text in UTF-8", self.name))
        })
    }

    /// An option that is a word by itself: whether it says yes.
    fn flag(&mut self) -> bool {
        self.rest.push(self.name.into());
        !self.name.starts_with("--no-")
    }
}

/// A number that is too large for any range becomes the largest, and is refused for that.
fn number(name: &str, value: &OsString) -> Result<i64, Failure> {
    let text = value.to_string_lossy();
    text.trim().parse().or_else(|error: std::num::ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow => Ok(i64::MAX),
        IntErrorKind::NegOverflow => Ok(i64::MIN),
        _ => Err(Failure::Usage(format!("{name}: {} is not a whole number", quoted(&text)))),
    })
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}
