"""A subscriber for each of ION's kinds of events (``kinds`` tells their fields)."""

from __future__ import annotations

from antiphon.notifications import kinds
from antiphon.notifications.subscriber import EventSubscriber


class ResourceLifecycleEventSubscriber(EventSubscriber, event=kinds.ResourceLifecycleEvent):
    """Hears of the life of resources; ``origin``: the resource's id."""


class ContainerLifecycleEventSubscriber(
    ResourceLifecycleEventSubscriber, event=kinds.ContainerLifecycleEvent
):
    """Hears of the life of containers; ``origin``: the container's name."""


class ProcessLifecycleEventSubscriber(
    ResourceLifecycleEventSubscriber, event=kinds.ProcessLifecycleEvent
):
    """Hears of the life of processes; ``origin``: the process's exchange name."""


class InfrastructureEventSubscriber(EventSubscriber, event=kinds.InfrastructureEvent):
    """Hears of the infrastructure; abstract."""


class AppLoaderEventSubscriber(InfrastructureEventSubscriber, event=kinds.AppLoaderEvent):
    """Hears of applications that start and stop; ``origin``: the application's name."""


class ContainerStartupEventSubscriber(
    InfrastructureEventSubscriber, event=kinds.ContainerStartupEvent
):
    """Hears of containers that have started; ``origin``: the application's name."""


class TriggerEventSubscriber(EventSubscriber, event=kinds.TriggerEvent):
    """Hears of what is to be done; abstract."""


class DatasourceUpdateEventSubscriber(TriggerEventSubscriber, event=kinds.DatasourceUpdateEvent):
    """Hears of data sources that are to be read again.

    ``origin``: the data source's resource id.
    """


class ScheduleEventSubscriber(TriggerEventSubscriber, event=kinds.ScheduleEvent):
    """Hears of what the scheduler has to tell; ``origin``: what the schedule was made for."""


class ResourceModifiedEventSubscriber(EventSubscriber, event=kinds.ResourceModifiedEvent):
    """Hears of changed resources; abstract."""


class DatasourceUnavailableEventSubscriber(
    ResourceModifiedEventSubscriber, event=kinds.DatasourceUnavailableEvent
):
    """Hears of data sources that do not answer; ``origin``: the data source's resource id."""


class DatasetSupplementAddedEventSubscriber(
    ResourceModifiedEventSubscriber, event=kinds.DatasetSupplementAddedEvent
):
    """Hears of data sets that have grown; ``origin``: the data set's resource id."""


class BusinessStateChangeEventSubscriber(
    ResourceModifiedEventSubscriber, event=kinds.BusinessStateModificationEvent
):
    """Hears of the business states of resources; ``origin``: the process's exchange name."""


class DatasetChangeEventSubscriber(ResourceModifiedEventSubscriber, event=kinds.DatasetChangeEvent):
    """Hears of changed data sets; ``origin``: its resource id."""


class DatasourceChangeEventSubscriber(
    ResourceModifiedEventSubscriber, event=kinds.DatasourceChangeEvent
):
    """Hears of changed data sources; ``origin``: its resource id."""


class IngestionProcessingEventSubscriber(
    ResourceModifiedEventSubscriber, event=kinds.IngestionProcessingEvent
):
    """Hears of ingestions at work; ``origin``: the data set's resource id."""


class DatasetStreamingEventSubscriber(
    ResourceModifiedEventSubscriber, event=kinds.DatasetStreamingEvent
):
    """Hears of data on their way to ingestion; ``origin``: the data set's resource id."""


class NewSubscriptionEventSubscriber(EventSubscriber, event=kinds.NewSubscriptionEvent):
    """Hears of new subscriptions; ``origin``: the dispatcher's resource id."""


class DelSubscriptionEventSubscriber(EventSubscriber, event=kinds.DelSubscriptionEvent):
    """Hears of ended subscriptions; ``origin``: the dispatcher's resource id."""


class LoggingEventSubscriber(EventSubscriber, event=kinds.LoggingEvent):
    """Hears of what programs have to say; abstract."""


class CriticalLoggingEventSubscriber(LoggingEventSubscriber, event=kinds.CriticalLoggingEvent):
    """Hears of critical messages of programs; ``origin``: the process's exchange name."""


class ErrorLoggingEventSubscriber(LoggingEventSubscriber, event=kinds.ErrorLoggingEvent):
    """Hears of errors of programs; ``origin``: the process's exchange name."""


class InfoLoggingEventSubscriber(LoggingEventSubscriber, event=kinds.InfoLoggingEvent):
    """Hears of messages of programs; ``origin``: the process's exchange name."""


class DataEventSubscriber(EventSubscriber, event=kinds.DataEvent):
    """Hears of data; abstract."""


class DataBlockEventSubscriber(DataEventSubscriber, event=kinds.DataBlockEvent):
    """Hears of blocks of data; ``origin``: the process's exchange name."""


class InstrumentSampleDataEventSubscriber(
    DataBlockEventSubscriber, event=kinds.InstrumentSampleDataEvent
):
    """Hears of samples of instruments, and of other blocks of data, which have the same id."""
