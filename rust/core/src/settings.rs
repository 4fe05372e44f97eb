//! What a binding is asked for: arguments first, then `MPIBIND*` variables, then defaults.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Read as _};

use crate::discover::Discovered;
use crate::env::{self, EnvOptions, Visible};
use crate::error::quoted;
use crate::{
    CpuSet, Error, GpuId, Mapping, Parameters, Request, Respect, Result, Variables, View, affinity,
    cgroup, memory,
};

/// What a caller gives. None stands for what was not given.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Threads per task; 0 lets the mapping decide.
    pub nthreads: i64,
    /// Whether fewer tasks than memory domains share all of them.
    pub greedy: Option<bool>,
    /// Whether tasks go where the GPUs are.
    pub gpu_optim: Option<bool>,
    /// Hardware threads per core to use; 0 lets the mapping decide.
    pub smt: Option<i64>,
    /// A list of the ids that may be used.
    pub restrict_ids: Option<String>,
    /// What these ids are: `cpu` or `mem`.
    pub restrict_type: Option<String>,
    /// How GPUs are named: `index`, `uuid`, `pci` or `name`.
    pub gpu_ids: Option<String>,
    /// Whether the process is to be bound.
    pub apply: bool,
    /// Whether variables are to be set.
    pub env: bool,
    /// Whether OpenMP's threads are to be pinned.
    pub omp_affinity: bool,
    /// Which GPUs to show: `own`, `own-first` or `off`.
    pub visible: Option<String>,
    /// What limits the CPUs: `cgroup` or `affinity`.
    pub respect: Option<String>,
    /// How memory is bound, if it is: `bind` or `preferred`.
    pub membind: Option<String>,
    /// 0, 1 for a line for each task, 2 for notes too.
    pub verbose: Option<i64>,
    /// Whether the closest network cards are named.
    pub nics: Option<bool>,
}

/// All that counts for one binding, checked as far as can be done without the machine.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Settings {
    /// The mapping's parameters; None with `MPIBIND=off`, when nothing is to be bound or set.
    pub request: Option<Request>,
    /// How GPUs are named.
    pub gpu_ids: GpuId,
    /// Whether the process is to be bound.
    pub apply: bool,
    /// Whether variables are to be set.
    pub env: bool,
    /// Whether OpenMP's threads are to be pinned.
    pub omp_affinity: bool,
    /// Which GPUs to show.
    pub visible: Visible,
    /// What limits the CPUs.
    pub respect: Respect,
    /// How memory is bound, if it is.
    pub membind: Option<memory::Binding>,
    /// 0, 1 for a line for each task, 2 for notes too.
    pub verbose: i64,
    /// Whether the closest network cards are named.
    pub nics: bool,
    /// Variables that are not to be set.
    left_out: BTreeSet<&'static str>,
    /// Parameters that were taken from a variable, with the variable and all that it says.
    sources: Vec<(&'static str, &'static str, String)>,
}

impl Settings {
    /// Puts together what counts.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for the first argument or variable that is not legal.
    pub fn new(given: Given, words: Words, variables: &Variables<'_>) -> Result<Self> {
        if words.off {
            return Ok(Self::default());
        }
        let mut sources = Vec::new();
        let told = [
            ("greedy", given.greedy.is_none() && words.greedy.is_some()),
            ("gpu_optim", given.gpu_optim.is_none() && words.gpu_optim.is_some()),
            ("smt", given.smt.is_none() && words.smt.is_some()),
        ];
        for (parameter, _) in told.into_iter().filter(|(_, is_told)| *is_told) {
            sources.push((parameter, MPIBIND, words.text.clone()));
        }
        let (mut ids, mut kind) = (given.restrict_ids, given.restrict_type);
        // Ids and their type belong together: those of a variable say nothing about an argument.
        let told = if ids.is_none() { set(RESTRICT, variables) } else { None };
        if let Some(text) = told {
            ids = Some(list_or_file(&text)?);
            sources.push(("restrict_ids", RESTRICT, text));
            let told = if kind.is_none() { set(RESTRICT_TYPE, variables) } else { None };
            if let Some(text) = told {
                kind = Some(text.clone());
                sources.push(("restrict_type", RESTRICT_TYPE, text));
            }
        }
        let visible = match given.visible {
            Some(text) => text.parse()?,
            None => words.visible.unwrap_or_default(),
        };
        let (gpu_ids, respect) = (parsed(given.gpu_ids)?, parsed(given.respect)?);
        let membind = given.membind.map(|text| text.parse()).transpose()?;
        let parameters = Parameters {
            nthreads: given.nthreads,
            greedy: given.greedy.or(words.greedy).unwrap_or(true),
            gpu_optim: given.gpu_optim.or(words.gpu_optim).unwrap_or(true),
            smt: given.smt.or(words.smt).unwrap_or(0),
            restrict_ids: ids.as_deref(),
            restrict_type: kind.as_deref().unwrap_or("cpu"),
            ..Parameters::new(1)
        };
        let request = Request::new(&parameters).map_err(|error| naming_source(error, &sources))?;
        let verbose = given.verbose.or(words.verbose).unwrap_or(0);
        if verbose < 0 {
            let legal = "it must be False, True or a number from 0; 2 and more print all there is";
            return Err(Error::number("verbose", verbose, legal));
        }
        Ok(Self {
            request: Some(request),
            gpu_ids,
            apply: given.apply,
            env: given.env,
            omp_affinity: given.omp_affinity,
            visible,
            respect,
            membind,
            verbose,
            nics: given.nics.or(words.nics).unwrap_or(false),
            left_out: words.left_out,
            sources,
        })
    }

    /// What all tasks must agree on, by name, in one spelling.
    pub fn words(&self) -> Vec<(&'static str, String)> {
        let Some(request) = &self.request else {
            return vec![("MPIBIND", "'off'".into())];
        };
        let word = |word: &str| format!("'{word}'");
        let flag = |value| if value { "True" } else { "False" }.to_owned();
        let mut words = vec![("MPIBIND", word("on"))];
        words.extend(request.words());
        words.extend([
            ("gpu_ids", word(self.gpu_ids.name())),
            ("omp_affinity", flag(self.omp_affinity)),
            ("visible", word(self.visible.name())),
            ("respect", word(self.respect.name())),
            ("membind", self.membind.map_or_else(|| "None".into(), |how| word(how.name()))),
            ("nics", flag(self.nics)),
        ]);
        words
    }

    /// A number that stands for [`Self::words`]: equal where these are, and else different but for
    /// one chance in 2^64.
    pub fn digest(&self) -> i64 {
        let mut hasher = DefaultHasher::new();
        self.words().hash(&mut hasher);
        hasher.finish() as i64
    }

    /// The masks that limit the CPUs, as a process finds them that talks to no other task of its
    /// node: none, or its own.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] if it is not alone and the masks of others would count;
    /// [`Error::Affinity`] if the kernel does not tell.
    pub fn masks_of_one(&self, local_size: i64) -> Result<Option<CpuSet>> {
        if self.respect == Respect::Cgroup {
            return Ok(None);
        }
        if local_size > 1 {
            let legal = format!(
                "one process does not know the masks of the other {} tasks of its node; use \
                 mpibind.mpi.bind() or respect='cgroup'",
                local_size - 1
            );
            return Err(Error::parameter("respect", "'affinity'", legal));
        }
        affinity::current().map(Some)
    }

    /// Maps the tasks of a node within what the system grants them: their masks, where these count,
    /// the time on CPUs, and the GPUs that they were given.
    ///
    /// # Errors
    ///
    /// As [`crate::map`]; [`Error::InvalidParameter`] if nothing is to be mapped.
    pub fn map(
        &self,
        node: &Discovered,
        ntasks: i64,
        masks: Option<CpuSet>,
        views: Vec<View>,
    ) -> Result<Mapping> {
        let Some(request) = &self.request else {
            let legal = "it says that nothing is to be mapped; unset it";
            return Err(Error::parameter("MPIBIND", "'off'", legal));
        };
        // Whoever only looks at another machine does not want this one's limits, nor its GPUs.
        let is_here = self.apply || node.is_live;
        let quota = if is_here { cgroup::cpu_quota("/".as_ref()) } else { None };
        let views = if is_here || self.env { views } else { Vec::new() };
        let request = request.for_node(ntasks, masks, quota)?.with_views(views);
        request
            .and_then(|request| crate::map(&node.topology, &request))
            .map_err(|error| naming_source(error, &self.sources))
    }

    /// The variables to set for a task.
    ///
    /// # Errors
    ///
    /// As [`env::variables`].
    pub fn variables(&self, mapping: &Mapping, task: i64) -> Result<Vec<(String, String)>> {
        let options = EnvOptions {
            omp_affinity: self.omp_affinity,
            gpu_uuids: self.gpu_ids == GpuId::Uuid,
            visible: self.visible,
            nics: self.nics,
        };
        let mut variables = env::variables(mapping, task, options)?;
        variables.retain(|(name, _)| !self.left_out.contains(name.as_str()));
        Ok(variables)
    }
}

/// The variables that are read.
const MPIBIND: &str = "MPIBIND";
const RESTRICT: &str = "MPIBIND_RESTRICT";
const RESTRICT_TYPE: &str = "MPIBIND_RESTRICT_TYPE";

/// A variable that is set and not empty.
fn set(name: &str, variables: &Variables<'_>) -> Option<String> {
    variables(name).filter(|text| !text.is_empty())
}

fn parsed<T: std::str::FromStr<Err = Error> + Default>(text: Option<String>) -> Result<T> {
    text.map_or_else(|| Ok(T::default()), |text| text.parse())
}

/// The error, with the variable that the value came from if it was one.
fn naming_source(error: Error, sources: &[(&'static str, &'static str, String)]) -> Error {
    match error {
        Error::InvalidParameter { parameter, value, legal, variable: None } => {
            let source = sources.iter().find(|(name, ..)| *name == parameter);
            let variable = source.map(|(_, name, text)| (*name, text.clone()));
            Error::InvalidParameter { parameter, value, legal, variable }
        }
        other => other,
    }
}

/// What the variable `MPIBIND` says. None where it says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Words {
    /// Nothing is to be bound or set.
    pub off: bool,
    verbose: Option<i64>,
    gpu_optim: Option<bool>,
    greedy: Option<bool>,
    smt: Option<i64>,
    visible: Option<Visible>,
    nics: Option<bool>,
    left_out: BTreeSet<&'static str>,
    /// All of it.
    text: String,
}

const LEGAL: &str = "it must be words with commas between them, of: on, off, v[:N], verbose[:N], \
                     gpu[:0|1], greedy[:0|1], smt:K, nics[:0|1], omp_places, omp_proc_bind, visdevs";

impl Words {
    /// Reads the variable.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for a word that is none; it lists those that are.
    pub fn of(variables: &Variables<'_>) -> Result<Self> {
        let text = variables(MPIBIND).unwrap_or_default();
        let refuse =
            |reason: String| Error::parameter(MPIBIND, quoted(&text), format!("{reason}; {LEGAL}"));
        let mut said = Self::default();
        for word in text.split(',') {
            let lower = word.trim().to_lowercase();
            let (name, number) = match lower.split_once(':') {
                None => (lower.as_str(), None),
                Some((name, number)) => match number.parse::<u16>() {
                    Ok(value) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                        (name, Some(value))
                    }
                    _ => {
                        let shown = quoted(word);
                        return Err(refuse(format!(
                            "{shown} has no number from 0 to 65535 after the colon"
                        )));
                    }
                },
            };
            let flag = || Some(number != Some(0));
            match (name, number) {
                ("v" | "verbose", _) => said.verbose = Some(number.map_or(1, i64::from)),
                ("gpu", None | Some(0 | 1)) => said.gpu_optim = flag(),
                ("greedy", None | Some(0 | 1)) => said.greedy = flag(),
                ("nics", None | Some(0 | 1)) => said.nics = flag(),
                ("smt", Some(width)) => said.smt = Some(width.into()),
                ("on", None) => said.off = false,
                ("off", None) => said.off = true,
                ("visdevs", None) => said.visible = Some(Visible::Off),
                ("omp_places", None) => drop(said.left_out.insert("OMP_PLACES")),
                ("omp_proc_bind", None) => drop(said.left_out.insert("OMP_PROC_BIND")),
                ("", None) => {}
                _ => return Err(refuse(format!("{} is none of its words", quoted(word)))),
            }
        }
        Ok(Self { text, ..said })
    }
}

/// The longest file of ids: room for every CPU of the biggest machine there is, and little memory
/// if the variable names some other file.
const MAX_FILE: u64 = 1 << 20;

/// A list of ids: the text itself, or that of the file that it names.
fn list_or_file(text: &str) -> Result<String> {
    let refuse = |reason: &dyn Display| {
        let legal = format!("it must be ids such as 0-3,8, or a file of them ({reason})");
        Error::parameter(RESTRICT, quoted(text), legal)
    };
    match fs::metadata(text) {
        Ok(found) if found.is_file() => {
            let mut content = Vec::new();
            let file = fs::File::open(text).map_err(|error| refuse(&error))?;
            // The files of /proc have no size, so it is what can be read that counts.
            let read = file.take(MAX_FILE + 1).read_to_end(&mut content);
            if read.map_err(|error| refuse(&error))? as u64 > MAX_FILE {
                return Err(refuse(&format!("it has more than {MAX_FILE} bytes")));
            }
            let content = String::from_utf8(content).map_err(|error| refuse(&error))?;
            let ids = content.split([',', ' ', '\n', '\t', '\r']).filter(|id| !id.is_empty());
            Ok(ids.collect::<Vec<_>>().join(","))
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(refuse(&error)),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &'static str) -> Result<Words> {
        Words::of(&|name| (name == MPIBIND).then(|| text.to_owned()))
    }

    #[test]
    fn words_of_mpibind() {
        let base = Words::default();
        let flag = |value| Words { gpu_optim: Some(value), ..Words::default() };
        let out = |names: &[&'static str]| Words {
            left_out: names.iter().copied().collect(),
            ..Words::default()
        };
        let cases = [
            ("", base.clone()),
            ("on", base.clone()),
            ("off", Words { off: true, ..base.clone() }),
            ("off,on", base.clone()),
            ("v", Words { verbose: Some(1), ..base.clone() }),
            ("v:0", Words { verbose: Some(0), ..base.clone() }),
            ("verbose", Words { verbose: Some(1), ..base.clone() }),
            ("V:2", Words { verbose: Some(2), ..base.clone() }),
            ("gpu", flag(true)),
            ("gpu:0", flag(false)),
            ("gpu:1", flag(true)),
            ("greedy", Words { greedy: Some(true), ..base.clone() }),
            ("greedy:0", Words { greedy: Some(false), ..base.clone() }),
            ("smt:2", Words { smt: Some(2), ..base.clone() }),
            ("nics", Words { nics: Some(true), ..base.clone() }),
            ("nics:0", Words { nics: Some(false), ..base.clone() }),
            ("visdevs", Words { visible: Some(Visible::Off), ..base.clone() }),
            ("omp_places", out(&["OMP_PLACES"])),
            ("omp_proc_bind,omp_places", out(&["OMP_PLACES", "OMP_PROC_BIND"])),
            (" on , smt:1,,v ", Words { smt: Some(1), verbose: Some(1), ..base }),
        ];
        for (text, expected) in cases {
            let expected = Words { text: text.into(), ..expected };
            assert_eq!(words(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn wrong_words_list_the_right_ones() {
        let wrong = "smt smt: smt:x smt:-1 smt:+1 smt:65536 gpu:2 nics:2 off:1 of on;v :";
        for text in wrong.split(' ') {
            let message = words(text).unwrap_err().to_string();
            assert!(message.starts_with(&format!("MPIBIND='{text}' is not legal: '{text}' ")));
            assert!(message.contains("greedy[:0|1], smt:K, nics[:0|1], omp_places"), "{message}");
        }
    }
}
