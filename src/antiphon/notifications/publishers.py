"""A publisher for each of ION's kinds of events (``kinds`` tells their fields)."""

from __future__ import annotations

from antiphon.notifications import kinds
from antiphon.notifications.publisher import EventPublisher


class ResourceLifecycleEventPublisher(EventPublisher, event=kinds.ResourceLifecycleEvent):
    """Publishes events of the life of resources; ``origin``: the resource's id."""

    State = kinds.ResourceLifecycleEvent.State


class ContainerLifecycleEventPublisher(
    ResourceLifecycleEventPublisher, event=kinds.ContainerLifecycleEvent
):
    """Publishes events of the life of containers; ``origin``: the container's name."""


class ProcessLifecycleEventPublisher(
    ResourceLifecycleEventPublisher, event=kinds.ProcessLifecycleEvent
):
    """Publishes events of the life of processes; ``origin``: the process's exchange name."""


class InfrastructureEventPublisher(EventPublisher, event=kinds.InfrastructureEvent):
    """Publishes events of the infrastructure; abstract."""


class AppLoaderEventPublisher(InfrastructureEventPublisher, event=kinds.AppLoaderEvent):
    """Publishes events of applications that start and stop; ``origin``: the application's name."""

    State = kinds.AppLoaderEvent.State


class ContainerStartupEventPublisher(
    InfrastructureEventPublisher, event=kinds.ContainerStartupEvent
):
    """Publishes events of containers that have started; ``origin``: the application's name."""


class TriggerEventPublisher(EventPublisher, event=kinds.TriggerEvent):
    """Publishes events of what is to be done; abstract."""


class DatasourceUpdateEventPublisher(TriggerEventPublisher, event=kinds.DatasourceUpdateEvent):
    """Publishes events of data sources that are to be read again.

    ``origin``: the data source's resource id.
    """


class ScheduleEventPublisher(TriggerEventPublisher, event=kinds.ScheduleEvent):
    """Publishes events of what the scheduler has to tell.

    ``origin``: what the schedule was made for.
    """


class ResourceModifiedEventPublisher(EventPublisher, event=kinds.ResourceModifiedEvent):
    """Publishes events of changed resources; abstract."""


class DatasourceUnavailableEventPublisher(
    ResourceModifiedEventPublisher, event=kinds.DatasourceUnavailableEvent
):
    """Publishes events of data sources that do not answer.

    ``origin``: the data source's resource id.
    """


class DatasetSupplementAddedEventPublisher(
    ResourceModifiedEventPublisher, event=kinds.DatasetSupplementAddedEvent
):
    """Publishes events of data sets that have grown; ``origin``: the data set's resource id."""


class BusinessStateModificationEventPublisher(
    ResourceModifiedEventPublisher, event=kinds.BusinessStateModificationEvent
):
    """Publishes events of the business states of resources.

    ``origin``: the process's exchange name.
    """


class DatasetChangeEventPublisher(ResourceModifiedEventPublisher, event=kinds.DatasetChangeEvent):
    """Publishes events of changed data sets; ``origin``: its resource id."""


class DatasourceChangeEventPublisher(
    ResourceModifiedEventPublisher, event=kinds.DatasourceChangeEvent
):
    """Publishes events of changed data sources; ``origin``: its resource id."""


class IngestionProcessingEventPublisher(
    ResourceModifiedEventPublisher, event=kinds.IngestionProcessingEvent
):
    """Publishes events of ingestions at work; ``origin``: the data set's resource id."""


class NewSubscriptionEventPublisher(EventPublisher, event=kinds.NewSubscriptionEvent):
    """Publishes events of new subscriptions; ``origin``: the dispatcher's resource id."""


class DelSubscriptionEventPublisher(EventPublisher, event=kinds.DelSubscriptionEvent):
    """Publishes events of ended subscriptions; ``origin``: the dispatcher's resource id."""


class LoggingEventPublisher(EventPublisher, event=kinds.LoggingEvent):
    """Publishes events of what programs have to say; abstract."""


class CriticalLoggingEventPublisher(LoggingEventPublisher, event=kinds.CriticalLoggingEvent):
    """Publishes events of critical messages of programs.

    ``origin``: the process's exchange name.
    """


class ErrorLoggingEventPublisher(LoggingEventPublisher, event=kinds.ErrorLoggingEvent):
    """Publishes events of errors of programs; ``origin``: the process's exchange name."""


class InfoLoggingEventPublisher(LoggingEventPublisher, event=kinds.InfoLoggingEvent):
    """Publishes events of messages of programs; ``origin``: the process's exchange name."""


class DataEventPublisher(EventPublisher, event=kinds.DataEvent):
    """Publishes events of data; abstract."""


class DataBlockEventPublisher(DataEventPublisher, event=kinds.DataBlockEvent):
    """Publishes events of blocks of data; ``origin``: the process's exchange name."""


class InstrumentSampleDataEventPublisher(
    DataBlockEventPublisher, event=kinds.InstrumentSampleDataEvent
):
    """Publishes events of samples of instruments; ``origin``: the process's exchange name."""
