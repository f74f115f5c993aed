"""Messages to people: receipts by mail and in the inbox.

Sending is in `tasks`, which the worker and the scheduler enter; a site process need not import it.
"""

from tidegate.notify.contracts import (
    Asked,
    CaughtMail,
    Channel,
    Follow,
    FollowLinkOver,
    FollowsFull,
    InboxMessage,
    MessageText,
    Post,
    PostDiffers,
    Progress,
    Send,
    SendState,
    TextChanged,
    Topic,
    TopicKind,
)
from tidegate.notify.editing import Edited, bring_built_in_back, find_edited, list_edited, save_text
from tidegate.notify.erasing import erase_messages
from tidegate.notify.estimates import Estimate, estimate_send
from tidegate.notify.follow_links import check_address, count_request, mail_confirmation, read_confirmation
from tidegate.notify.follows import follow, forget_follows, list_follows, unfollow
from tidegate.notify.inbox import count_unread, list_inbox, take_over_messages
from tidegate.notify.live import open_listeners
from tidegate.notify.mail_check import check_mail_server
from tidegate.notify.message_kinds import Variable, variables_of
from tidegate.notify.old_words import delete_old_words
from tidegate.notify.posts import MAX_BODY, MAX_TITLE, find_post, list_posts, write_post
from tidegate.notify.preferences import (
    Preferences,
    QuietHours,
    Recipient,
    ensure_recipient,
    find_account,
    find_preferences,
    find_recipient,
    offered_zones,
    set_follow_channels,
    set_preferences,
)
from tidegate.notify.previews import MAX_SUBJECT, MAX_TEXT, Preview
from tidegate.notify.sends import (
    WaitingTopic,
    begin_send,
    delete_spent,
    expire_sends,
    find_followed,
    list_topics,
    waiting_topics,
)
from tidegate.notify.steering import cancel_send, pause_send, resume_send
from tidegate.notify.trial_mails import count_trial, mail_trial
from tidegate.notify.views import list_sends

__all__ = [
    "MAX_BODY",
    "MAX_SUBJECT",
    "MAX_TEXT",
    "MAX_TITLE",
    "Asked",
    "CaughtMail",
    "Channel",
    "Edited",
    "Estimate",
    "Follow",
    "FollowLinkOver",
    "FollowsFull",
    "InboxMessage",
    "MessageText",
    "Post",
    "PostDiffers",
    "Preferences",
    "Preview",
    "Progress",
    "QuietHours",
    "Recipient",
    "Send",
    "SendState",
    "TextChanged",
    "Topic",
    "TopicKind",
    "Variable",
    "WaitingTopic",
    "begin_send",
    "bring_built_in_back",
    "cancel_send",
    "check_address",
    "check_mail_server",
    "count_request",
    "count_trial",
    "count_unread",
    "delete_old_words",
    "delete_spent",
    "ensure_recipient",
    "erase_messages",
    "estimate_send",
    "expire_sends",
    "find_account",
    "find_edited",
    "find_followed",
    "find_post",
    "find_preferences",
    "find_recipient",
    "follow",
    "forget_follows",
    "list_edited",
    "list_follows",
    "list_inbox",
    "list_posts",
    "list_sends",
    "list_topics",
    "mail_confirmation",
    "mail_trial",
    "offered_zones",
    "open_listeners",
    "pause_send",
    "read_confirmation",
    "resume_send",
    "save_text",
    "set_follow_channels",
    "set_preferences",
    "take_over_messages",
    "unfollow",
    "variables_of",
    "waiting_topics",
    "write_post",
]
