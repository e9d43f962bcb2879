//! Creating a container: its folder, its project, its container at the engine, and last its `container.json`.

use std::time::Duration;

use tokio::sync::SemaphorePermit;

use super::{Containers, container::Container, on_disk, record::Record, terms::Terms};
use crate::{
    domain::{id::Cuid, spec::Spec, status::Status},
    error::{Error, Result},
    files::root::Mount,
};

impl Containers {
    /// Creates a container, which is not started. An image that is not there is pulled. A failure leaves nothing behind.
    /// A request that has created one already gets that one.
    ///
    /// # Errors
    /// `NameTaken`, `ImageNotFound`, `NetworkNotFound`, `HostPathNotAllowed`, `Invalid`, and those of Compose, the engine and
    /// the disk.
    pub async fn create(&self, spec: Spec, terms: Terms) -> Result<Container> {
        self.engine_is_heard()?;
        let this = self.clone();
        self.to_the_end(async move {
            if let Some(made) = this.0.index.made_by(&terms) {
                return this.get(made.record.cuid).await;
            }
            let place = this.place().await?;
            this.check_at_hand(&spec).await?;
            let cuid = Cuid::new();
            if let Some(name) = &spec.name {
                this.0.index.reserve(name, cuid)?;
            }
            let name = spec.name.clone();
            let made = this.make(cuid, spec, terms, place).await;
            if made.is_err() {
                this.0.index.leave_network(cuid);
                name.iter().for_each(|name| this.0.index.free(name, cuid));
            }
            made
        })
        .await
    }

    /// A place among the creations that go on, when it is this one's turn.
    async fn place(&self) -> Result<SemaphorePermit<'_>> {
        self.0.creations.acquire().await.map_err(|error| Error::io("wait for a turn")(std::io::Error::other(error)))
    }

    async fn make(&self, cuid: Cuid, spec: Spec, terms: Terms, mut place: SemaphorePermit<'_>) -> Result<Container> {
        if !self.0.engine.has_image(spec.image.as_str()).await? {
            // A pull takes its time, in which others go on.
            drop(place);
            self.ensure_image(&spec.image).await?;
            place = self.place().await?;
        }
        self.check_log(&spec).await?;
        let _mark = self.0.under_way.mark(cuid);
        let made = self.make_all(cuid, &spec, terms).await;
        drop(place);
        match made {
            Ok(record) => {
                tracing::info!(%cuid, image = spec.image.as_str(), "container created");
                self.0.index.insert_created(record);
                self.look(cuid).await;
                self.0.index.get(cuid)
            }
            Err(error) => {
                // Its volumes are as new as itself.
                self.take_away(cuid, true).await;
                Err(error)
            }
        }
    }

    async fn make_all(&self, cuid: Cuid, spec: &Spec, terms: Terms) -> Result<Record> {
        let (store, owner) = (self.0.store.clone(), spec.owner(self.0.defaults.owner));
        let shared_network = self.0.index.take_network(cuid, self.0.defaults.network_containers);
        on_disk(move || {
            store.begin(cuid)?;
            Mount::create(&store.folder(cuid), owner).map(drop)
        })
        .await?;
        self.write_project(cuid, spec, None).await?;
        self.compose_create(cuid, spec, Duration::ZERO, false).await?;
        if self.0.engine.state(&cuid.to_string()).await?.status == Status::Missing {
            let stderr = "Compose made no container: a template with profiles keeps it from that".to_owned();
            return Err(Error::ComposeFailed { command: "create".into(), exit_code: Some(0), stderr });
        }
        let record = Record { shared_network, ..Record::new(cuid, spec.clone(), terms.mark) };
        let store = self.0.store.clone();
        on_disk(move || store.commit(&record).map(|()| record)).await
    }

    /// Takes away what there is of a container whose folder has no `container.json`. What can't be taken away now is when
    /// the server or the engine next starts.
    pub(super) async fn take_away(&self, cuid: Cuid, with_volumes: bool) {
        let removed = match self.compose_down(cuid, with_volumes).await {
            Ok(()) => {
                let store = self.0.store.clone();
                on_disk(move || store.remove(cuid)).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::error!(%cuid, %error, "what is left of a container could not be removed; it is tried again");
        }
    }
}
