"""The pages of users and roles. Nobody gives, or takes over, more than they have themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth import admin as django_auth
from django.contrib.auth.models import Group, Permission
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelect2MultipleWidget

from consumers.forms import FIELDS
from consumers.models import Membership, User
from usage.pages import Page, TabularInline, badge, column, instant, switched

if TYPE_CHECKING:
    DjangoUserAdmin = django_auth.UserAdmin[User]
else:
    DjangoUserAdmin = django_auth.UserAdmin

NOT_YET = Q(content_type__app_label="consumers", content_type__model__in=("budget", "entry"))
"""Permissions on what no page shows before the work that enforces it."""


def reaches(user: Any, permissions: set[str]) -> bool:
    """Whether `user` holds all of `permissions`: nobody gives, or takes over, more than they have."""
    return bool(user.is_superuser) or permissions <= user.get_all_permissions()


def grantable(user: Any) -> QuerySet[Permission]:
    """The permissions that `user` may give."""
    rows = Permission.objects.select_related("content_type").exclude(NOT_YET)
    if user.is_superuser:
        return rows
    own = Q(pk__in=())
    for each in user.get_all_permissions():
        app, codename = each.split(".", 1)
        own |= Q(content_type__app_label=app, codename=codename)
    return rows.filter(own)


def named(permissions: QuerySet[Permission]) -> set[str]:
    return {f"{app}.{name}" for app, name in permissions.values_list("content_type__app_label", "codename")}


class MembershipInline(TabularInline[Membership, Any]):
    model = Membership
    tab = True
    extra = 0
    per_page = 25
    autocomplete_fields = ("user", "consumer")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).select_related("user", "consumer").order_by("pk")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return ["consumer", "role"] if self.parent_model is User else ["user", "role"]


class UserAdmin(DjangoUserAdmin, Page[User]):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    fields_as = FIELDS
    list_display = ("username", "email", "state_shown", "role_shown", "login_shown")
    list_filter = ("is_staff", "is_superuser", "is_active", "groups")
    search_fields = ("username", "first_name", "last_name", "email")
    ordering = ("username",)
    filter_horizontal = ()
    autocomplete_fields = ("groups",)
    readonly_fields = ("login_shown", "joined_shown")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        (_("Person"), {"fields": (("first_name", "last_name"), ("email", "time_zone"))}),
        (
            _("What this user may do"),
            {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")},
        ),
        (_("Dates"), {"fields": (("login_shown", "joined_shown"),)}),
    )
    inlines = (MembershipInline,)

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.inlines if obj else ()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[Any, ...]:
        locked = tuple(super().get_readonly_fields(request, obj))
        return locked if request.user.is_superuser else (*locked, "is_superuser")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and self._within(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and self._within(request, obj)

    def _within(self, request: HttpRequest, obj: Any) -> bool:
        if not isinstance(obj, User) or request.user.is_superuser:
            return True
        return not obj.is_superuser and reaches(request.user, obj.get_all_permissions())

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        if db_field.name == "user_permissions":
            options |= {"queryset": grantable(request.user), "widget": UnfoldAdminSelect2MultipleWidget()}
        elif db_field.name == "groups" and not request.user.is_superuser:
            lacking = Permission.objects.exclude(pk__in=grantable(request.user).values("pk"))
            options["queryset"] = Group.objects.exclude(permissions__in=lacking)
        return super().formfield_for_manytomany(db_field, request, **options)

    @admin.display(description=_("state"), ordering="is_active")
    def state_shown(self, user: User) -> SafeString:
        return switched(user)

    @admin.display(description=_("role"))
    def role_shown(self, user: User) -> SafeString:
        if user.is_superuser:
            return badge(_("superuser"), "info")
        return badge(_("staff"), "info") if user.is_staff else badge(_("user"))

    login_shown = column("last_login", instant, _("last log-in"), order=True)
    joined_shown = column("date_joined", instant, _("since"))


class GroupAdmin(django_auth.GroupAdmin, Page[Group]):
    list_display = ("name",)
    filter_horizontal = ()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and self._within(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and self._within(request, obj)

    def _within(self, request: HttpRequest, obj: Any) -> bool:
        if not isinstance(obj, Group) or request.user.is_superuser:
            return True
        return reaches(request.user, named(obj.permissions.all()))

    def formfield_for_manytomany(
        self, db_field: Any, request: HttpRequest | None = None, **options: Any
    ) -> Any:
        if db_field.name == "permissions" and request is not None:
            options |= {"queryset": grantable(request.user), "widget": UnfoldAdminSelect2MultipleWidget()}
        return super().formfield_for_manytomany(db_field, request, **options)
