//! What containers use, once and followed. However many follow one container, the engine is subscribed to once, for as long as somebody
//! does; and however many follow all of them, they are looked at once a second.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tokio::{
    sync::watch::{Receiver, Sender, channel},
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

use super::{Containers, listing::Filter};
use crate::{
    domain::{
        id::Cuid,
        status::{Action, Status},
    },
    engine::stats::Sample,
    error::{Error, Result},
};

/// How long a container is looked at for one figure, as `docker stats` does.
const WINDOW: Duration = Duration::from_secs(1);
/// How many containers the engine is asked for side by side.
const SIDE_BY_SIDE: usize = 16;
/// How long to wait before a subscription that ended is taken up again.
const PAUSE: Duration = Duration::from_millis(200);

/// Two looks at a container, the earlier one first.
#[derive(Clone, Debug)]
pub struct Pair(pub Arc<Sample>, pub Arc<Sample>);

/// Looks at all running containers.
pub type All = HashMap<Cuid, Arc<Sample>>;

/// Who is followed.
#[derive(Default)]
pub(super) struct Hub {
    one: Mutex<HashMap<Cuid, Weak<Feed<Option<Pair>>>>>,
    all: Mutex<Weak<Feed<All>>>,
}

/// What everybody who follows the same hears of; the subscription ends with the last of them.
struct Feed<T> {
    news: Receiver<std::result::Result<T, String>>,
    task: AbortOnDropHandle<()>,
}

/// Somebody who follows figures.
pub struct Follower<T> {
    news: Receiver<std::result::Result<T, String>>,
    _feed: Arc<Feed<T>>,
}

impl Containers {
    /// What the container uses: a second of it, unless it is followed, and so known.
    ///
    /// # Errors
    /// [`Error::ContainerNotFound`], [`Error::InvalidState`] where it does not run, [`Error::EngineUnavailable`], `EngineRefused`.
    pub async fn stats(&self, cuid: Cuid) -> Result<Pair> {
        self.check(cuid, Action::Stats).await?;
        if let Some(pair) = self.known_pair(cuid) {
            return Ok(pair);
        }
        let mut first = self.0.engine.sample(cuid).await?;
        // One that was started anew meanwhile is looked at once more.
        for _ in 0..2 {
            sleep(WINDOW).await;
            let second = self.0.engine.sample(cuid).await?;
            if let (Some(first), Some(second)) = (&first, &second)
                && second.follows(first)
            {
                return Ok(Pair(Arc::new(first.clone()), Arc::new(second.clone())));
            }
            let status = self.refresh(cuid).await?.status;
            Action::Stats.check(status)?;
            first = second;
        }
        Err(Error::EngineUnavailable("the container was started anew while it was looked at".to_owned()))
    }

    /// What all running containers use.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`].
    pub async fn all_stats(&self) -> Result<Vec<(Cuid, Pair)>> {
        let began = Instant::now();
        let first = self.look_at_all().await?;
        // In the same order, so that each is looked at again after as long.
        sleep_until(began + WINDOW).await;
        let second = self.look_at_all().await?;
        Ok(pairs(&first, &second))
    }

    /// Follows what the container uses.
    ///
    /// # Errors
    /// As [`Containers::stats`].
    pub async fn follow_stats(&self, cuid: Cuid) -> Result<Follower<Option<Pair>>> {
        self.check(cuid, Action::Stats).await?;
        let mut all = self.0.stats.one.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, feed| feed.strong_count() > 0);
        let known = all.get(&cuid).and_then(Weak::upgrade).filter(|feed| !feed.task.is_finished());
        let feed = known.unwrap_or_else(|| {
            let this = self.clone();
            Feed::begin(self, None, |news| async move {
                match this.subscribe(cuid, &news).await {
                    Ok(()) | Err(Error::ContainerNotFound(_)) => {}
                    Err(error) => drop(news.send_replace(Err(error.to_string()))),
                }
            })
        });
        all.insert(cuid, Arc::downgrade(&feed));
        Ok(Follower::of(feed))
    }

    /// Follows what all running containers use.
    pub fn follow_all_stats(&self) -> Follower<All> {
        let mut all = self.0.stats.all.lock().unwrap_or_else(PoisonError::into_inner);
        let feed = all.upgrade().filter(|feed| !feed.task.is_finished()).unwrap_or_else(|| {
            let this = self.clone();
            Feed::begin(self, All::new(), |news| async move {
                let mut ticks = interval(WINDOW);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    let looked = this.look_at_all().await.map_err(|error| error.to_string());
                    let failed = looked.is_err();
                    drop(news.send_replace(looked));
                    if failed {
                        return;
                    }
                }
            })
        });
        *all = Arc::downgrade(&feed);
        Follower::of(feed)
    }

    /// What a subscription that stands has seen last.
    fn known_pair(&self, cuid: Cuid) -> Option<Pair> {
        let all = self.0.stats.one.lock().unwrap_or_else(PoisonError::into_inner);
        let feed = all.get(&cuid)?.upgrade().filter(|feed| !feed.task.is_finished())?;
        feed.news.borrow().as_ref().ok()?.clone()
    }

    /// Tells what the engine tells of the container, until that is deleted.
    async fn subscribe(&self, cuid: Cuid, news: &Sender<std::result::Result<Option<Pair>, String>>) -> Result<()> {
        let up = |status: Status| Action::Stats.check(status).is_ok();
        loop {
            let mut samples = Box::pin(self.0.engine.samples(cuid)?);
            let mut last: Option<Arc<Sample>> = None;
            while let Some(sample) = samples.next().await {
                // While it does not run there is nothing to tell.
                let sample = match sample {
                    Ok(sample) => sample.map(Arc::new),
                    // It is being made anew.
                    Err(Error::EngineRefused(_)) => break,
                    Err(error) => return Err(error),
                };
                let pair = last.take().zip(sample.clone()).filter(|(before, now)| now.follows(before));
                drop(news.send_replace(Ok(pair.map(|(before, now)| Pair(before, now)))));
                last = sample;
            }
            drop(news.send_replace(Ok(None)));
            sleep(PAUSE).await;
            self.wait_for(cuid, |container| up(container.state.status)).await?;
        }
    }

    /// A look at all running containers; one that fails for a container leaves that out.
    async fn look_at_all(&self) -> Result<All> {
        let running = Filter { statuses: vec![Status::Running, Status::Paused], ..Filter::default() };
        let page = self.list(&running, None, usize::MAX).await?;
        let looks = stream::iter(page.containers.into_iter().map(|container| container.record.cuid));
        let looks = looks.map(|cuid| async move { (cuid, self.0.engine.sample(cuid).await) });
        let mut all = All::new();
        let mut looks = looks.buffer_unordered(SIDE_BY_SIDE);
        while let Some((cuid, look)) = looks.next().await {
            match look {
                Ok(Some(sample)) => drop(all.insert(cuid, Arc::new(sample))),
                Ok(None) | Err(Error::EngineRefused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }
}

/// What was seen twice, in the order of the cuids.
pub fn pairs(before: &All, now: &All) -> Vec<(Cuid, Pair)> {
    let pair = |(cuid, now): (&Cuid, &Arc<Sample>)| {
        let before = before.get(cuid).filter(|before| now.follows(before))?;
        Some((*cuid, Pair(before.clone(), now.clone())))
    };
    let mut pairs: Vec<_> = now.iter().filter_map(pair).collect();
    pairs.sort_by_key(|(cuid, _)| *cuid);
    pairs
}

impl<T: Send + Sync + 'static> Feed<T> {
    fn begin<F>(containers: &Containers, first: T, work: impl FnOnce(Sender<std::result::Result<T, String>>) -> F) -> Arc<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, news) = channel(Ok(first));
        Arc::new(Self { news, task: AbortOnDropHandle::new(containers.0.runtime.spawn(work(sender))) })
    }
}

impl<T: Clone> Follower<T> {
    fn of(feed: Arc<Feed<T>>) -> Self {
        let mut news = feed.news.clone();
        // What is known already is news to it.
        news.mark_changed();
        Self { news, _feed: feed }
    }

    /// What is new; `None` once there will be nothing. Cancelling it loses nothing.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`], which is the last.
    pub async fn next(&mut self) -> Result<Option<T>> {
        if self.news.changed().await.is_err() {
            return Ok(None);
        }
        self.news.borrow_and_update().clone().map(Some).map_err(Error::EngineUnavailable)
    }
}
