//! Ollama's native API, read by the parser of OpenAI's requests: what differs is here.

use tollgate_core::call::{Ask, Role};

use super::Wrong;
use super::json::Kind;
use super::openai::{Endpoint, Options, Parser, input, message, value};

/// Options that reach into the server's memory and threads.
const REACHING: [&str; 9] =
    ["f16_kv", "low_vram", "main_gpu", "num_batch", "num_ctx", "num_gpu", "num_thread", "use_mlock", "use_mmap"];

impl Parser<'_> {
    pub(super) fn ollama_member(&mut self, key: &str) -> Result<(), Wrong> {
        use Endpoint::{OllamaChat, OllamaEmbed, OllamaGenerate};
        match (key, self.endpoint) {
            ("model", _) => self.model(),
            ("messages", OllamaChat) => self.messages(),
            ("prompt" | "suffix", OllamaGenerate) => self.texts(input::SUFFIX),
            ("system", OllamaGenerate) => self.string(Role::System),
            ("images", OllamaGenerate) => self.images(),
            ("input", OllamaEmbed) => self.texts(input::INPUT),
            ("tools", OllamaChat) => self.tools(),
            ("format", OllamaChat | OllamaGenerate) => match self.reader.peek()? {
                Kind::Object => self.schema("format"),
                _ => value::one_of(&mut self.reader, &["", "json"]),
            },
            ("stream", OllamaChat | OllamaGenerate) => self.stream(),
            ("options", _) => self.options(),
            ("truncate", OllamaEmbed) => value::boolean(&mut self.reader).map(drop),
            ("dimensions", OllamaEmbed) => value::integer(&mut self.reader, 1..=1 << 20).map(drop),
            ("think", OllamaChat | OllamaGenerate) => match self.reader.peek()? {
                Kind::String => value::text(&mut self.reader, 64),
                _ => value::boolean(&mut self.reader).map(drop),
            },
            _ => self.extra(key),
        }
    }

    /// A list of base64.
    pub(super) fn images(&mut self) -> Result<(), Wrong> {
        if value::absent(&mut self.reader)? {
            return Ok(());
        }
        self.array()?;
        let mut count = 0_u64;
        while self.reader.next_item()? {
            self.media_text(message::IMAGES).map_err(|wrong| wrong.under(count))?;
            count += 1;
        }
        Ok(())
    }

    fn options(&mut self) -> Result<(), Wrong> {
        if value::absent(&mut self.reader)? {
            return Ok(());
        }
        self.object()?;
        let mut options = Options { begin: self.reader.at(), empty: true, bound: None };
        while let Some(key) = self.reader.next_key()? {
            options.empty = false;
            let read = match &*key {
                // -1 is an answer without end, -2 one that fills the context.
                "num_predict" => {
                    self.reader.peek()?;
                    let start = self.reader.at();
                    let read = self.count("options/num_predict", Ask::OutputTokens, 1);
                    options.bound = Some(start..self.reader.at());
                    read
                }
                "stop" => self.stops(),
                "temperature" | "repeat_penalty" => value::number(&mut self.reader, 0.0..=2.0),
                "top_p" | "min_p" | "typical_p" => value::number(&mut self.reader, 0.0..=1.0),
                "presence_penalty" | "frequency_penalty" => value::number(&mut self.reader, -2.0..=2.0),
                "top_k" | "seed" | "repeat_last_n" => value::signed(&mut self.reader, i64::MIN..=i64::MAX),
                other if REACHING.contains(&other) => {
                    Err(Wrong::here("options of the model alone", "one of the server"))
                }
                _ => return Err(Wrong::here("options that are known here", "another")),
            };
            read.map_err(|wrong| wrong.under(&key))?;
        }
        self.request.options = Some(options);
        Ok(())
    }
}
