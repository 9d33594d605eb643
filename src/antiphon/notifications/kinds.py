"""ION's kinds of events.

The ids, the message types, the hierarchy and the enums are ION's.  Its messages'
other fields are not handed down: those here are what each kind is for.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from antiphon.notifications.notification import Notification


class ResourceLifecycleEvent(Notification):
    """A resource came into another state of its life.  Origin: the resource's id.

    Attributes:
        state: one of ``State``.
    """

    class State(StrEnum):
        """What a resource goes through."""

        NEW = "NEW"
        READY = "READY"
        ACTIVE = "ACTIVE"
        TERMINATED = "TERMINATED"
        ERROR = "ERROR"

    event_id, msg_type = 1001, 2323
    state: str | None


class ContainerLifecycleEvent(ResourceLifecycleEvent):
    """A container did.  Origin: the container's name."""

    event_id = 1051


class ProcessLifecycleEvent(ResourceLifecycleEvent):
    """A process did.  Origin: the process's exchange name."""

    event_id = 1052


class InfrastructureEvent(Notification):
    """Something of the infrastructure; abstract."""


class AppLoaderEvent(InfrastructureEvent):
    """An application was started or stopped.  Origin: the application's name.

    Attributes:
        state: one of ``State``.
        app_name: the application.
    """

    class State(StrEnum):
        """What happened to an application."""

        STARTED = "STARTED"
        STOPPED = "STOPPED"

    event_id, msg_type = 1075, 2332
    state: str | None
    app_name: str | None


class ContainerStartupEvent(InfrastructureEvent):
    """A container has run its startup applications.  Origin: the application's name.

    Attributes:
        container_name: the container.
        app_names: the applications that it runs.
    """

    event_id, msg_type = 1076, 2333
    container_name: str | None
    app_names: list[str] | None


class TriggerEvent(Notification):
    """Something is to be done now; abstract.

    Attributes:
        job_id: what is to be done.
        payload: what it needs to know.
    """

    msg_type = 2324
    job_id: str | None
    payload: Any


class DatasourceUpdateEvent(TriggerEvent):
    """A data source is to be read again.  Origin: the data source's resource id.

    Attributes:
        datasource_id: the data source.
        dataset_id: the data set that is made of it.
    """

    event_id = 1101
    datasource_id: str | None
    dataset_id: str | None


class ScheduleEvent(TriggerEvent):
    """The scheduler says that it is time.  Origin: what the schedule was made for.

    Attributes:
        task_id: the entry of the schedule.
    """

    event_id = 2001
    task_id: str | None


class ResourceModifiedEvent(Notification):
    """A resource was changed, which is not its life; abstract.

    Attributes:
        resource_id: the resource.
    """

    msg_type = 2325
    resource_id: str | None


class DatasourceUnavailableEvent(ResourceModifiedEvent):
    """A data source does not answer.  Origin: the data source's resource id.

    Attributes:
        datasource_id: the data source.
        error_explanation: why, for people.
    """

    event_id, msg_type = 1102, 2330
    datasource_id: str | None
    error_explanation: str | None


class DatasetSupplementAddedEvent(ResourceModifiedEvent):
    """A data set has grown.  Origin: the data set's resource id.

    Attributes:
        dataset_id, datasource_id: what has grown, and where that comes from.
        title, url: of the data set.
        start_datetime_ms, end_datetime_ms: what was added, in milliseconds since
            the Unix epoch.
        number_of_timesteps: how much that is.
    """

    event_id, msg_type = 1111, 2331
    dataset_id: str | None
    datasource_id: str | None
    title: str | None
    url: str | None
    start_datetime_ms: int | None
    end_datetime_ms: int | None
    number_of_timesteps: int | None


class BusinessStateModificationEvent(ResourceModifiedEvent):
    """A resource came into another state of its business.  Origin: the process's exchange name.

    Attributes:
        original_state, modified_state: before and after.
    """

    event_id, msg_type = 1112, 2325
    original_state: str | None
    modified_state: str | None


class DatasetChangeEvent(ResourceModifiedEvent):
    """A data set was changed: drop what is cached of it.  Origin: its resource id.

    Attributes:
        dataset_id: the data set.
    """

    event_id, msg_type = 1113, 2341
    dataset_id: str | None


class DatasourceChangeEvent(ResourceModifiedEvent):
    """A data source was changed: drop what is cached of it.  Origin: its resource id.

    Attributes:
        datasource_id: the data source.
    """

    event_id, msg_type = 1114, 2342
    datasource_id: str | None


class IngestionProcessingEvent(ResourceModifiedEvent):
    """An ingestion is still at work: wait longer.  Origin: the data set's resource id.

    Attributes:
        dataset_id: the data set that is filled.
        ingestion_process_id: who fills it.
        conv_id: of the conversation that asked for it.
        processing_step: how far it is.
    """

    event_id, msg_type = 1115, 2343
    dataset_id: str | None
    ingestion_process_id: str | None
    conv_id: str | None
    processing_step: str | None


class DatasetStreamingEvent(ResourceModifiedEvent):
    """Data on their way from a data set agent to ingestion.  Origin: the data set's resource id.

    The agent sends them itself, so there is no publisher of this kind.

    Attributes:
        msg_types: class attribute: ION's numbers for what it sends.
        dataset_id: the data set.
        content_type: which of the message types *data* is.
        data: what it sends.
    """

    event_id = 1116
    msg_type = None  # type: ignore[assignment]  # that of its base is not sent
    msg_types = (10001, 2001, 2005)
    dataset_id: str | None
    content_type: int | None
    data: Any


class NewSubscriptionEvent(Notification):
    """Somebody has subscribed.  Origin: the dispatcher's resource id.

    Attributes:
        dispatcher_name, dispatcher_workflow: what is run for the subscriber.
        user_ooi_id: the subscriber.
        datasource_id: what was subscribed to.
    """

    event_id, msg_type = 1201, 2327
    dispatcher_name: str | None
    dispatcher_workflow: str | None
    user_ooi_id: str | None
    datasource_id: str | None


class DelSubscriptionEvent(Notification):
    """Somebody has ended a subscription.  Origin: the dispatcher's resource id.

    Attributes:
        dispatcher_name, dispatcher_workflow, user_ooi_id, datasource_id: as in
            ``NewSubscriptionEvent``.
    """

    event_id, msg_type = 1202, 2328
    dispatcher_name: str | None
    dispatcher_workflow: str | None
    user_ooi_id: str | None
    datasource_id: str | None


class LoggingEvent(Notification):
    """A program has something to say; abstract.  Origin: the process's exchange name.

    Attributes:
        logger: name of the logger.
        levelname, levelno: how bad it is.
        message: what is said.
        pathname, lineno: where in the program.
        exc_info: the traceback, as text.
    """

    msg_type = 2326
    logger: str | None
    levelname: str | None
    levelno: int | None
    message: str | None
    pathname: str | None
    lineno: int | None
    exc_info: str | None


class CriticalLoggingEvent(LoggingEvent):
    """The program cannot go on."""

    event_id = 3001


class ErrorLoggingEvent(LoggingEvent):
    """Something failed."""

    event_id = 3002


class InfoLoggingEvent(LoggingEvent):
    """Something that is good to know."""

    event_id = 3003


class DataEvent(Notification):
    """There are data; abstract.  Origin: the process's exchange name."""

    msg_type = 2329


class DataBlockEvent(DataEvent):
    """There is a block of data.

    Attributes:
        data_block: the data.
    """

    event_id = 4001
    data_block: Any


class InstrumentSampleDataEvent(DataBlockEvent):
    """There is a sample of an instrument; its id is that of ``DataBlockEvent``.

    Attributes:
        instrument_id: the instrument.
    """

    msg_type = 4303
    instrument_id: str | None
