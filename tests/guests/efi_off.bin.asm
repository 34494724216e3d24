; An application for UEFI, which switches the machine off as the ACPI tables say that it is done (ACPI 1.0b, 4.7.3.2), if the
; power management timer is where they say. Otherwise it stands still.

default rel

IMAGE_BASE equ 0
ALIGNMENT equ 0x200

; UEFI 2.10, 4.3 "EFI System Table"
TABLE_ENTRIES equ 104
CONFIGURATION_TABLE equ 112
TABLE_ENTRY_BYTES equ 24

; ACPI 1.0b, 5.2.3 to 5.2.5
RSDP_RSDT equ 16
TABLE_LENGTH equ 4
RSDT_ENTRIES equ 36
FADT_SMI_CMD equ 48
FADT_ACPI_ENABLE equ 52
FADT_PM1A_CNT equ 64
FADT_PM_TMR equ 76
SCI_EN equ 1
SLP_EN equ 1 << 13

bits 64
mz:
    db 'MZ'
    times 0x3c - ($ - mz) db 0
    dd pe
pe:
    db 'PE', 0, 0
    dw 0x8664, 1                        ; x86-64, one section
    dd 0, 0, 0
    dw sections - optional_header
    dw 0x0206                           ; executable, no line numbers, no symbols of its own
optional_header:
    dw 0x20b                            ; PE32+
    db 0, 0
    dd code_end - code, 0, 0
    dd code, code
    dq IMAGE_BASE
    dd ALIGNMENT, ALIGNMENT
    dw 0, 0, 0, 0, 0, 0
    dd 0
    dd image_end, code                  ; bytes of the image, of the headers
    dd 0
    dw 10, 0                            ; an application for UEFI
    dq 0, 0, 0, 0
    dd 0, 6
    times 6 dq 0
sections:
    db '.text', 0, 0, 0
    dd code_end - code, code, code_end - code, code
    dd 0, 0
    dw 0, 0
    dd 0x60000020                       ; code, to be read and executed
    align ALIGNMENT, db 0

; RDX: the system table.
code:
    mov rcx, [rdx + TABLE_ENTRIES]
    mov rsi, [rdx + CONFIGURATION_TABLE]
    mov rax, [acpi_1]
    mov rbx, [acpi_1 + 8]
find_rsdp:
    dec rcx
    js stand_still
    add rsi, TABLE_ENTRY_BYTES
    cmp [rsi - TABLE_ENTRY_BYTES], rax
    jne find_rsdp
    cmp [rsi - TABLE_ENTRY_BYTES + 8], rbx
    jne find_rsdp
    mov rsi, [rsi - 8]
    mov esi, [rsi + RSDP_RSDT]
    mov ecx, [rsi + TABLE_LENGTH]
    add ecx, esi
    add esi, RSDT_ENTRIES
find_fadt:
    cmp esi, ecx
    jae stand_still
    mov edi, [rsi]
    add esi, 4
    cmp dword [rdi], 'FACP'
    jne find_fadt

    mov edx, [rdi + FADT_PM_TMR]
    in eax, dx
    mov ecx, eax
    inc eax
    jz stand_still                      ; nothing is there
wait_for_a_tick:
    in eax, dx
    cmp eax, ecx
    je wait_for_a_tick

    mov edx, [rdi + FADT_SMI_CMD]
    mov al, [rdi + FADT_ACPI_ENABLE]
    out dx, al
    mov edx, [rdi + FADT_PM1A_CNT]
wait_for_acpi:
    in ax, dx
    test ax, SCI_EN
    jz wait_for_acpi
    mov ax, SLP_EN | SCI_EN             ; sleep type 0 is soft off
    out dx, ax
stand_still:
    cli
    hlt
    jmp stand_still

acpi_1:                                 ; EB9D2D30-2D88-11D3-9A16-0090273FC14D
    dd 0xeb9d2d30
    dw 0x2d88, 0x11d3
    db 0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d
    align ALIGNMENT, db 0
code_end:
image_end equ code_end
